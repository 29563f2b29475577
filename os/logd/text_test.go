package logd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
)

func TestClean(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "",
		"plain text\r\n":                    "plain text",
		"\x1b[1;31mred\x1b[0m\x1b(B ü":      "red ü",
		"\x1b]0;title\x07a\x1b]8;;x\x1b\\b": "ab",
		"a\tb\x00\x1b\xff\u202e\u0085c\r":   `a    b\x00\x1b\xff\u202e\u0085c`,
		`C:\dir "x"`:                        `C:\dir "x"`,
		"\ufffd \u00a0":                     "\ufffd \u00a0",
		"10%\r20%":                          `10%\r20%`,
	} {
		if got := clean([]byte(line)); got != want {
			t.Errorf("%q is logged as %q, want %q", line, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("\x1b[1;31mred\x1b[0m\t\xff"))
	f.Add(bytes.Repeat([]byte("\t"), maxText))
	f.Fuzz(func(t *testing.T, line []byte) {
		got := clean(line)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("%q is logged as %q", line, got)
		}
		if whole := clean(append(line, "\x00end"...)); !strings.HasSuffix(whole, `\x00end`) {
			t.Errorf("of %q the end is lost: %q", line, whole)
		}
		if again := clean([]byte(got)); again != got {
			t.Errorf("%q is logged as %q, and that as %q", line, got, again)
		}
	})
}

func TestRedact(t *testing.T) {
	r := newRedactor([]string{"hunter2", "hunter2 & <co>", "a,b@c", "a", "it", "\x1b€", "", "\r", "s3crets", strings.Repeat("x", maxText)})
	for text, want := range map[string]string{
		"registry_password=hunter2 quiet":       "registry_password=*** quiet",
		"hunter2hunter2":                        "******",
		"hunter2 & <co>":                        "***",
		`{"p":"hunter2 \u0026 \u003cco\u003e"}`: `{"p":"***"}`,
		"http://u:hunter2%20&%20%3Cco%3E@h":     "http://u:***@h",
		"http://h?p=hunter2+%26+%3Cco%3E":       "http://h?p=***",
		"http://u:a,b%40c@h":                    "http://u:***@h",
		"hunter":                                "hunter",
		"a bad unit, it is":                     "*** bad unit, *** is",
		"a":                                     "***",
		"aa ba ab a_ üa":                        "aa ba ab a_ üa",
		`password "\x1b€"`:                      `password "***"`,
		"s3crets3crets":                         "***3crets",
	} {
		if got := r.redact(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]int{"": 0, "xyz": 0, "hunter": 6, "hunter2": 7, "hunter2 ": 8, "see hun": 3, "hunter2 & <co>": 0,
		"s3crets": 7, "s3crets3crets": 1, "s3crets3": 8, "see s3crets3": 8, "s3cretsee s": 1} {
		if got := r.hold([]byte(text)); got != want {
			t.Errorf("of %q %d bytes are held, want %d", text, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("hunter2", "password=hunter2")
	f.Add("a,b@c", "http://u:a,b%40c@h")
	f.Fuzz(func(t *testing.T, secret, text string) {
		secret = clean([]byte(secret))
		if len(secret) < shortSecret || strings.Contains(mask, secret) || len(secret) > maxText/16 {
			return
		}
		r := newRedactor([]string{secret})
		quoted, _ := json.Marshal(secret)
		userinfo, _ := strings.CutPrefix(url.UserPassword("u", secret).String(), "u:")
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), userinfo, string(quoted[1 : len(quoted)-1])} {
			if got := r.redact(form); got != mask {
				t.Errorf("%q as %q becomes %q", secret, form, got)
			}
		}
		if got := r.redact(text + secret); strings.HasSuffix(got, secret) {
			t.Errorf("%q is left at the end of %q", secret, got)
		}
	})
}

func TestParseRecord(t *testing.T) {
	for text, want := range map[string]record{
		"6,339,5140900,-;NET: Registered protocol family 10": {339, 5140900 * time.Microsecond, logline.Line{Severity: logline.Info, Text: "NET: Registered protocol family 10"}},
		"4,0,0,c,caller=T1,more;a\\x0ab\\xc3\\xbc \\x5cx":    {0, 0, logline.Line{Severity: logline.Warning, Text: "a\nbü \\x"}},
		"30,7,1,-;from a program":                            {7, time.Microsecond, logline.Line{Severity: logline.Info, Text: "from a program"}},
		"3,8,1,-;\\xzz \\x;\\x4":                             {8, time.Microsecond, logline.Line{Severity: logline.Error, Text: "\\xzz \\x;\\x4"}},
		"3,8,1;short":                                        {8, time.Microsecond, logline.Line{Severity: logline.Error, Text: "short"}},
	} {
		if got, ok := parseRecord(text); !ok || got != want {
			t.Errorf("%q is read as %+v, %v, want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", ";", "6,1,1,-", " SUBSYSTEM=pci", "x,1,1,-;a", "6,-1,1,-;a", "6,1,,-;a", "6,1,9223372036854775807,-;a", "6,9223372036854775808,1,-;a"} {
		if got, ok := parseRecord(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("6,339,5140900,-;NET: Registered \\x5cprotocol family 10")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseRecord(text)
		if !ok {
			return
		}
		escaped := strings.NewReplacer(`\`, `\x5c`).Replace(r.Text)
		again, ok := parseRecord(fmt.Sprintf("%d,%d,%d,-;%s", r.Severity, r.sequence, r.boot.Microseconds(), escaped))
		if !ok || again != r {
			t.Errorf("%q is read as %+v, and that as %+v, %v", text, r, again, ok)
		}
	})
}

// FuzzLines checks that lines arrive whole, however they are read, and that no
// secret does in a part.
func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\nhunter2 is the password\nhunt"), []byte("er2\n"), 3)
	f.Add(bytes.Repeat([]byte("€hunter2"), maxText), []byte("\n"), 17)
	f.Add([]byte("the password is s3crets"), []byte("3\n"), 1)
	f.Add(append(bytes.Repeat([]byte("x"), maxText-7), "s3crets3"...), []byte("s3crets"), 17)
	f.Fuzz(func(t *testing.T, first, second []byte, step int) {
		var got bytes.Buffer
		var parts []string
		l := lines{secrets: newRedactor([]string{"hunter2", "s3crets"}), take: func(line []byte, more bool) {
			if len(line) > maxText || bytes.Contains(line, []byte("\n")) {
				t.Errorf("took %q", line)
			}
			if got.Len() > 0 && !more {
				got.WriteByte('\n')
			}
			got.Write(line)
			parts = append(parts, string(line))
		}}
		all := append(bytes.Clone(first), second...)
		l.add(first)
		l.idle()
		for step = max(1, step&0xffff); len(second) > 0; {
			n := min(step, len(second))
			l.add(second[:n])
			second = second[n:]
		}
		l.add([]byte("\n"))
		if l.pending() || len(l.rest) != 0 {
			t.Errorf("%q is left", l.rest)
		}
		// Empty lines at the beginning can not be told from none here.
		if want := bytes.TrimLeft(all, "\n"); got.String() != string(want) && strings.TrimLeft(got.String(), "\n") != string(want) {
			t.Errorf("took %q of %q", got.String(), all)
		}
		for _, s := range []string{"hunter2", "s3crets"} {
			secrets := bytes.Count(all, []byte(s))
			for _, p := range parts {
				secrets -= strings.Count(p, s)
			}
			if secrets != 0 {
				t.Errorf("%d times %s was cut in %q", secrets, s, parts)
			}
		}
	})
}

func TestLinesEnd(t *testing.T) {
	var got []string
	l := lines{secrets: newRedactor([]string{"hunter2"}), take: func(line []byte, more bool) { got = append(got, fmt.Sprint(string(line), more)) }}
	l.add([]byte("password: hunt"))
	l.idle()
	l.idle()
	if l.pending() {
		t.Error("part of a secret is not left alone")
	}
	l.end()
	if want := "[password: false ***true]"; fmt.Sprint(got) != want {
		t.Errorf("took %q, want %s", got, want)
	}
}

func TestHostname(t *testing.T) {
	address := []netstate.Link{{Name: "eth1"}, {Name: "eth0", Addresses: []netstate.Address{{Prefix: netip.MustParsePrefix("10.0.0.7/24")}}}}
	for i, test := range []struct {
		state     netstate.State
		own, want string
	}{
		{netstate.State{Hostname: "node7", Domain: "rack.example"}, "x", "node7.rack.example"},
		{netstate.State{Hostname: "node7.other.example", Domain: "rack.example"}, "x", "node7.other.example"},
		{netstate.State{Link: "eth0", Links: address}, "x", "x"},
		{netstate.State{Link: "eth0", Links: address}, "(none)", "10.0.0.7"},
		{netstate.State{Link: "eth0", Links: address}, "localhost", "10.0.0.7"},
		{netstate.State{Link: "eth1", Links: address}, "", ""},
	} {
		if got := hostname(test.state, test.own); got != test.want {
			t.Errorf("%s: %q, want %q", strconv.Itoa(i), got, test.want)
		}
	}
	path := filepath.Join(t.TempDir(), "network.json")
	if err := (netstate.State{Hostname: "node7"}).Write(path); err != nil {
		t.Fatal(err)
	}
	if got := newHostname(path)(); got != "node7" {
		t.Errorf("the network's name is %q", got)
	}
}
