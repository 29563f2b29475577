package service

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestParseMessage(t *testing.T) {
	for text, want := range map[string]message{
		"":                            {},
		"READY=1":                     {ready: true},
		"READY=0\nMAINPID=7\nREADY":   {},
		"STATUS=a=b\nREADY=1\n":       {ready: true, status: "a=b", hasStatus: true},
		"STATUS=":                     {hasStatus: true},
		"STATUS=\x1b[31m\xffred\tü":   {status: "?[31m?red?ü", hasStatus: true},
		"STOPPING=1":                  {stopping: true},
		"EXTEND_TIMEOUT_USEC=1500000": {extend: 1500 * time.Millisecond},
		"EXTEND_TIMEOUT_USEC=-1":      {},
		"EXTEND_TIMEOUT_USEC=18446744073709551615": {extend: extendLimit},
		"X_EMBER_A=b=c\nX_OTHER=d":                 {extra: extra{"X_EMBER_A", "b=c"}},
		"X_EMBER_\x1b=\x1b[m":                      {extra: extra{"X_EMBER_?", "?[m"}},
		"\x00\xff=\n\n=":                           {},
	} {
		if got := parseMessage([]byte(text)); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
	if m := parseMessage([]byte("STATUS=" + strings.Repeat("ü", statusLimit))); m.status != strings.Repeat("ü", statusLimit/2) {
		t.Errorf("a long status has %d bytes", len(m.status))
	}
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte("READY=1\nSTATUS=x\nSTOPPING=1\nEXTEND_TIMEOUT_USEC=5"))
	f.Add([]byte("STATUS=\xff" + strings.Repeat("€", statusLimit)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		m := parseMessage(datagram)
		if len(m.status) > statusLimit || !utf8.ValidString(m.status) || strings.ContainsAny(m.status, "\n\r\x1b\x00") {
			t.Errorf("status %q", m.status)
		}
		if m.extend < 0 || m.extend > extendLimit {
			t.Errorf("extended by %v", m.extend)
		}
	})
}

// TestNotifier sends good and bad messages, of which some are left to close.
func TestNotifier(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "ember-") // not t.TempDir: paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a.service")
	var got []string
	handled := make(chan struct{}, 16)
	n, err := listen(path, func(m message) {
		got = append(got, m.status)
		handled <- struct{}{}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func(text string) {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send("")
	send("STATUS=" + strings.Repeat("x", messageLimit))
	send("STATUS=one")
	go n.run()
	<-handled
	send("STATUS=two")
	n.close()
	n.close()
	if !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("heard %q", got)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the socket is still there")
	}
	if _, err := listen(filepath.Join(dir, strings.Repeat("x", 108)), nil); err == nil {
		t.Error("there is a socket with a long path")
	}
}
