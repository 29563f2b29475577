package logd

import (
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/os/logline"
)

// record is a message of the kernel's log.
type record struct {
	sequence uint64
	boot     time.Duration // by the clock of printk, which starts with the kernel
	logline.Line
}

// parseRecord reads a record of /dev/kmsg without its end, see
// Documentation/ABI/testing/dev-kmsg in Linux:
//
//	PRIORITY,SEQUENCE,MICROSECONDS,FLAGS[,...];TEXT
//
// FLAGS tells fragments of a line, which readers get only when they are put
// together since Linux 5.10. Lines behind the first, with a space in front, are
// about the device; they are no records.
func parseRecord(text string) (record, bool) {
	header, text, found := strings.Cut(text, ";")
	priority, rest, _ := strings.Cut(header, ",")
	sequence, rest, _ := strings.Cut(rest, ",")
	micros, _, _ := strings.Cut(rest, ",")
	p, err := strconv.ParseUint(priority, 10, 32)
	s, err2 := strconv.ParseUint(sequence, 10, 63)
	us, err3 := strconv.ParseUint(micros, 10, 63)
	boot := time.Duration(us) * time.Microsecond
	if !found || err != nil || err2 != nil || err3 != nil || boot < 0 || uint64(boot/time.Microsecond) != us {
		return record{}, false
	}
	return record{s, boot, logline.Line{Severity: logline.Severity(p % 8), Text: unescape(text)}}, true
}

// unescape turns each \xNN into its byte.
func unescape(text string) string {
	var b strings.Builder
	for {
		before, behind, found := strings.Cut(text, `\x`)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		text = behind
		if len(text) >= 2 {
			if c, err := strconv.ParseUint(text[:2], 16, 8); err == nil {
				b.WriteByte(byte(c))
				text = text[2:]
				continue
			}
		}
		b.WriteString(`\x`)
	}
}
