package syslog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/logline"
)

// rfc5424 is the grammar of RFC 5424, section 6, with the one element of
// structured data that we send.
var rfc5424 = regexp.MustCompile(`(?s)^<(0|[1-9][0-9]{0,2})>1 (-|[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z)` +
	` ([\x21-\x7e]{1,255}) ([\x21-\x7e]{1,48}) ([\x21-\x7e]{1,128}) ([\x21-\x7e]{1,32}) \[timeQuality tzKnown="1" isSynced="([01])"\](?: (.*))?$`)

// read reads a message.
func read(t *testing.T, msg []byte) (m Message, at time.Time, host string, synced bool) {
	t.Helper()
	match := rfc5424.FindSubmatch(msg)
	if match == nil || !utf8.Valid(msg) {
		t.Fatalf("%q is not as in RFC 5424", msg)
	}
	priority, err := strconv.Atoi(string(match[1]))
	if err != nil || priority > 191 {
		t.Errorf("priority %s", match[1])
	}
	if string(match[2]) != "-" {
		if at, err = time.Parse(time.RFC3339Nano, string(match[2])); err != nil {
			t.Error(err)
		}
	}
	for _, c := range match[8] {
		if c < ' ' || c == 0x7f {
			t.Errorf("a control character in %q", msg)
		}
	}
	if string(match[5]) != "-" || string(match[6]) != "-" {
		t.Errorf("PROCID or MSGID in %q", msg)
	}
	m = Message{Facility: Facility(priority / 8), App: string(match[4]), Line: logline.Line{Severity: logline.Severity(priority % 8), Text: string(match[8])}}
	return m, at, string(match[3]), match[7][0] == '1'
}

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestGolden(t *testing.T) {
	for _, test := range []struct {
		m    Message
		c    circumstances
		want string
	}{
		{
			Message{Kernel, 1500 * time.Millisecond, "kernel", logline.Line{Severity: logline.Warning, Text: "cpu 1 is slow"}},
			circumstances{start, false, "node7.rack.example"},
			`<4>1 2026-11-21T12:00:01.500000Z node7.rack.example kernel - - [timeQuality tzKnown="1" isSynced="0"] cpu 1 is slow`,
		}, {
			Message{Daemon, time.Microsecond, "containerd", logline.Line{Severity: logline.Info, Text: "\"ü\" \x1b[2J\x7f\xff]"}},
			circumstances{start.In(time.FixedZone("", 3600)), true, ""},
			`<30>1 2026-11-21T12:00:00.000001Z - containerd - - [timeQuality tzKnown="1" isSynced="1"] "ü" ?[2J??]`,
		}, {
			Message{Daemon, 0, "my app\n", logline.Line{Severity: logline.Emergency}},
			circumstances{time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), true, "ü"},
			`<24>1 - ?? my?app? - - [timeQuality tzKnown="1" isSynced="1"]`,
		},
	} {
		got := test.m.format(test.c, datagramLimit)
		if string(got) != test.want {
			t.Errorf("written\n%s, want\n%s", got, test.want)
		}
		read(t, got)
	}
}

func TestCut(t *testing.T) {
	for i := range 4 {
		text := strings.Repeat("x", i) + strings.Repeat("€", datagramLimit)
		msg := line(text).format(circumstances{}, datagramLimit)
		if m, _, _, _ := read(t, msg); len(msg) > datagramLimit || len(msg) < datagramLimit-2 || !strings.HasPrefix(text, m.Text) {
			t.Errorf("%d bytes with the text %q", len(msg), m.Text)
		}
	}
}

// line is a message of a daemon.
func line(text string) Message {
	return Message{Daemon, time.Second, "a", logline.Line{Severity: logline.Info, Text: text}}
}

func FuzzFormat(f *testing.F) {
	f.Add(3, 6, int64(1500000), "a b", "text\n\x00\xff", "host.ü", true)
	f.Add(0, 0, int64(-1)<<62, "", "\xef\xbb\xbf\xff", "", false)
	f.Fuzz(func(t *testing.T, facility, severity int, boot int64, app, text, host string, synced bool) {
		m := Message{Facility(uint(facility) % 24), time.Duration(boot), app, logline.Line{Severity: logline.Severity(uint(severity) % 8), Text: text}}
		for _, limit := range []int{datagramLimit, streamLimit} {
			msg := m.format(circumstances{start, synced, host}, limit)
			got, at, _, gotSynced := read(t, msg)
			if len(msg) > limit || got.Facility != m.Facility || got.Severity != m.Severity || gotSynced != synced ||
				!at.IsZero() && !at.Equal(start.Add(m.Boot).Truncate(time.Microsecond)) {
				t.Errorf("%+v is written %q", m, msg)
			}
		}
	})
}

func TestQueue(t *testing.T) {
	q := newQueue(5 * (overhead + 2))
	sent := func() (texts []string) {
		for i := q.next(); i != nil; i = q.next() {
			texts = append(texts, i.Text)
		}
		return texts
	}
	expect := func(want ...string) {
		t.Helper()
		if got := sent(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
	for i := range 5 {
		q.add(line(fmt.Sprint(i)))
	}
	expect("0", "1", "2", "3", "4")
	q.rewind()
	first := true
	if q.next(); len(q.confirm(func(*item) bool { defer func() { first = false }(); return first })) != 1 {
		t.Error("what was sent can not be confirmed")
	}
	expect("1", "2", "3", "4")

	// Messages that may have arrived are lost only if they turn out not to have.
	q.add(line("5"))
	q.add(line("6"))
	expect("5", "6")
	q.rewind()
	q.limit = 2 << 10
	expect("messages lost here: 1, since more than 2 KiB waited for the collector", "2", "3", "4", "5", "6")
	if len(q.confirm(func(*item) bool { return true })) != 6 {
		t.Error("not everything is confirmed")
	}
	if unsent, sent := q.waiting(); unsent != 0 || sent != 0 || q.size != 0 {
		t.Errorf("%d and %d wait, %d bytes", unsent, sent, q.size)
	}

	// The notice itself may be lost, but not its number.
	q.limit = 2 * (overhead + 100)
	for i := range 100 {
		q.add(line(strings.Repeat(fmt.Sprint(i%10), 90)))
	}
	q.next()
	q.rewind()
	q.add(line("end"))
	q.add(line("end"))
	got := sent()
	if len(got) == 0 || !strings.HasPrefix(got[0], fmt.Sprintf("messages lost here: %d,", 102-len(got)+1)) {
		t.Errorf("sent %q", got)
	}
}
