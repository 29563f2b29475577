// Package syslog sends log lines to a collector, in the form of RFC 5424, over UDP
// (RFC 5426), TCP (RFC 6587, with octet counting) or TLS (RFC 5425).
//
// Messages wait in memory, up to QueueLimit, while the collector can not be
// reached; then the oldest go, and a message says how many. What may have been
// lost on the way is sent again, so a message can arrive twice, but the order is
// kept. Over UDP that is what was sent in the last 5 s before an ICMP error, or
// before the kernel found nobody with the collector's address; over TCP and TLS
// it is what the other end's kernel has not acknowledged. Without an error
// nothing tells that a datagram was lost, and nothing tells what a collector that
// was killed had received but not read.
//
// Over UDP the collector's name is looked up again every 2 minutes and when the
// network changes, and messages come from the address that the machine has then.
package syslog

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/logline"
)

// Facility is one of RFC 5424, section 6.2.1.
type Facility int

// The facilities.
const (
	Kernel Facility = 0
	Daemon Facility = 3
)

// The sizes of messages in bytes, beyond which text is cut.
const (
	datagramLimit = 1400 // goes through every tunnel of a network with frames of 1,500 bytes
	streamLimit   = 8192 // what RFC 5425 says that every receiver should take
)

// Lengths of the header's fields, of RFC 5424, section 6.
const (
	hostLimit = 255
	appLimit  = 48
)

// Message is one log line on its way.
type Message struct {
	Facility Facility
	Boot     time.Duration // when it was logged, since kernel start
	App      string        // what logged it
	logline.Line
}

// circumstances is what all messages of a moment have in common.
type circumstances struct {
	start  time.Time // of the kernel, by the clock of now
	synced bool      // the clock is kept by NTP
	host   string
}

// format gives at most limit bytes. The text is UTF-8, but goes as MSG-ANY, since
// collectors print the byte order mark that would say so.
func (m Message) format(c circumstances, limit int) []byte {
	synced := 0
	if c.synced {
		synced = 1
	}
	msg := fmt.Appendf(nil, `<%d>1 %s %s %s - - [timeQuality tzKnown="1" isSynced="%d"]`,
		int(m.Facility)<<3|int(m.Severity), timestamp(c.start.Add(m.Boot)), field(c.host, hostLimit), field(m.App, appLimit), synced)
	if m.Text == "" {
		return msg
	}
	msg = append(msg, ' ')
	text := strings.ToValidUTF8(m.Text, "?")
	if room := limit - len(msg); len(text) > room {
		for room > 0 && !utf8.RuneStart(text[room]) {
			room--
		}
		text = text[:room]
	}
	for _, b := range []byte(text) {
		if b < ' ' || b == 0x7f {
			b = '?'
		}
		msg = append(msg, b)
	}
	return msg
}

// timestamp is "-" for a time that the format can not express.
func timestamp(t time.Time) string {
	t = t.UTC()
	if t.Year() < 0 || t.Year() > 9999 {
		return "-"
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}

// field is a field of the header: visible ASCII, "-" if there is nothing.
func field(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c <= ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	if len(b) == 0 {
		return "-"
	}
	return string(b)
}
