package bootreason

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Record is why a machine was rebooted.
type Record struct {
	Text   string        // for people: what was asked for, by whom
	Time   time.Time     // when, in seconds
	Uptime time.Duration // of the boot that ended, in seconds
}

// maxSize is of an encoded record, in bytes. Firmware has little room for variables.
const maxSize = 512

const mark = "ember-reboot-1 "

// encode makes one line of a record:
//
//	ember-reboot-1 <CRC-32 of the rest, in hex> <RFC 3339 time> <uptime in seconds> <text>
//
// It carries a mark and a checksum because it may come back in the midst of what
// others wrote, or from memory that was damaged. A text that is too long is cut.
func (r Record) encode() []byte {
	body := fmt.Sprintf("%s %d %s", r.Time.UTC().Format(time.RFC3339), r.Uptime/time.Second, oneLine(r.Text))
	if room := maxSize - len(mark) - len("00000000 \n"); len(body) > room {
		for room > 0 && !utf8.RuneStart(body[room]) {
			room--
		}
		body = body[:room]
	}
	return fmt.Appendf(nil, "%s%08x %s\n", mark, crc32.ChecksumIEEE([]byte(body)), body)
}

// oneLine makes white space and whatever is no text a space.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, s)
}

// decode finds the last record that is whole.
func decode(b []byte) (Record, bool) {
	var last Record
	var found bool
	for line := range strings.Lines(string(b)) {
		_, line, marked := strings.Cut(line, mark)
		line, ended := strings.CutSuffix(line, "\n")
		if !marked || !ended {
			continue
		}
		if r, ok := decodeLine(line); ok {
			last, found = r, true
		}
	}
	return last, found
}

func decodeLine(line string) (Record, bool) {
	sum, body, _ := strings.Cut(line, " ")
	at, rest, _ := strings.Cut(body, " ")
	uptime, text, _ := strings.Cut(rest, " ")
	t, err1 := time.Parse(time.RFC3339, at)
	seconds, err2 := strconv.ParseUint(uptime, 10, 32)
	ok := err1 == nil && err2 == nil && sum == fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
	return Record{text, t, time.Duration(seconds) * time.Second}, ok
}
