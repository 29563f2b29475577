package nbd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
)

const image = "0123456789"

// asked are requests as they are on the wire.
func asked(requests ...request) []byte {
	var b bytes.Buffer
	for _, r := range requests {
		r.Magic = requestMagic
		binary.Write(&b, binary.BigEndian, r)
		if r.Command == commandWrite {
			b.Write(make([]byte, r.Length))
		}
	}
	return b.Bytes()
}

// conn is a client that has said all that it says.
type conn struct {
	io.Reader
	bytes.Buffer
}

func (c *conn) Read(b []byte) (int, error)  { return c.Reader.Read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.Buffer.Write(b) }

// answers are what the server says after its greeting.
func answers(t *testing.T, client []byte) ([]byte, error) {
	t.Helper()
	c := conn{Reader: bytes.NewReader(client)}
	err := serve(&c, strings.NewReader(image), int64(len(image)))
	greeting, rest := c.Next(152), c.Bytes()
	const want = "4e42444d41474943" + "0000420281861253" + "000000000000000a" + "00000003"
	if got := hex.EncodeToString(greeting); got != want+strings.Repeat("00", 124) {
		t.Errorf("the greeting is %s", got)
	}
	return rest, err
}

func TestServe(t *testing.T) {
	const ok, cookie = "67446698" + "00000000", "0000000000000007"
	for name, test := range map[string]struct {
		request request
		want    string
	}{
		"read":             {request{Command: commandRead, Cookie: 7, Offset: 2, Length: 3}, ok + cookie + hex.EncodeToString([]byte("234"))},
		"read all":         {request{Command: commandRead, Cookie: 7, Length: 10}, ok + cookie + hex.EncodeToString([]byte(image))},
		"read nothing":     {request{Command: commandRead, Cookie: 7}, ok + cookie},
		"read too much":    {request{Command: commandRead, Cookie: 7, Offset: 2, Length: 9}, "6744669800000016" + cookie},
		"read far outside": {request{Command: commandRead, Cookie: 7, Offset: 1 << 63, Length: 1}, "6744669800000016" + cookie},
		"write":            {request{Command: commandWrite, Cookie: 7, Length: 5}, "6744669800000001" + cookie},
		"flush":            {request{Command: 3, Cookie: 7}, "6744669800000016" + cookie},
	} {
		t.Run(name, func(t *testing.T) {
			// The second answer shows that the first request was read to its end.
			got, err := answers(t, asked(test.request, request{Cookie: 8, Length: 1}, request{Command: commandDisconnect}))
			if want := test.want + ok + "0000000000000008" + "30"; err != nil || hex.EncodeToString(got) != want {
				t.Errorf("got %x, %v; want %s", got, err, want)
			}
		})
	}
}

func TestServeEnds(t *testing.T) {
	for name, test := range map[string]struct {
		client []byte
		want   string
	}{
		"silence":   {nil, "EOF"},
		"cut":       {asked(request{})[:20], "unexpected EOF"},
		"nonsense":  {make([]byte, 28), "begins with 0x0"},
		"a giant":   {asked(request{Length: 1 << 30}), "more than"},
		"cut write": {asked(request{Command: commandWrite, Length: 9})[:30], "EOF"},
	} {
		if got, err := answers(t, test.client); err == nil || !strings.Contains(err.Error(), test.want) || len(got) > 0 {
			t.Errorf("%s: %x, %v, not %q", name, got, err, test.want)
		}
	}
}

// Clients come and go; the server ends with the listener, and after them.
func TestListener(t *testing.T) {
	l, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- Serve(l, strings.NewReader(image), int64(len(image))) }()
	for range 2 {
		c, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(asked(request{Length: 4})); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 152+16+4)
		if _, err := io.ReadFull(c, got); err != nil || string(got[168:]) != "0123" {
			t.Errorf("got %q: %v", got, err)
		}
		c.Close()
	}
	l.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func FuzzServe(f *testing.F) {
	f.Add(asked(request{Offset: 1, Length: 2}, request{Command: commandWrite, Length: 3}, request{Command: commandDisconnect}))
	f.Fuzz(func(t *testing.T, client []byte) {
		c := conn{Reader: bytes.NewReader(client)}
		serve(&c, strings.NewReader(image), int64(len(image)))
		if c.Len() < 152 || c.Len() > 152+len(client)*(16+len(image)) {
			t.Errorf("%x is answered with %d bytes", client, c.Len())
		}
	})
}
