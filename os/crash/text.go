package crash

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/os/logline"
)

// header is the first line of a part: "Panic#2 Part1".
type header struct {
	reason string
	count  int // of dumps since that boot
	part   int // 1 has the last lines of the log
}

// parse splits a part into its header and its share of the log.
func parse(s string) (h header, text string, ok bool) {
	first, text, ok := strings.Cut(s, "\n")
	if !ok {
		return header{}, "", false
	}
	reason, numbers, _ := strings.Cut(first, "#")
	count, number, ok := strings.Cut(numbers, " Part")
	h.reason = reason
	if !ok || !isWord(reason) {
		return header{}, "", false
	}
	var err error
	if h.count, err = strconv.Atoi(count); err != nil || h.count < 0 {
		return header{}, "", false
	}
	if h.part, err = strconv.Atoi(number); err != nil || h.part < 0 {
		return header{}, "", false
	}
	return h, text, true
}

// orderly is the reason of a log that the kernel kept although it had no trouble.
const orderly = "Shutdown"

// Orderly tells whether a file of the store is of a kernel that stopped in order.
func Orderly(file string) bool {
	h, _, ok := parse(file)
	return ok && h.reason == orderly
}

func isWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != ' ' {
			return false
		}
	}
	return s != ""
}

// record reads a line of the log as the kernel dumps it, "<N>[seconds] text", where N
// is the facility times 8 plus the severity.
func record(line string) logline.Line {
	line = strings.TrimRight(line, "\n")
	severity := logline.Info
	if rest, ok := strings.CutPrefix(line, "<"); ok {
		number, text, ok := strings.Cut(rest, ">")
		if n, err := strconv.ParseUint(number, 10, 16); ok && err == nil {
			severity, line = logline.Severity(n&7), text
		}
	}
	return logline.Line{Severity: severity, Text: printable(line)}
}

// printable keeps what memory that was damaged may hold from doing things to a
// terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\ufffd' {
			return '?'
		}
		return r
	}, s)
}

const panicCause = "Kernel panic - not syncing: "

// causes are the beginnings of the lines by which the kernel says what is wrong.
var causes = []string{
	"BUG: ", "Internal error: ", "Oops: ", "Unable to handle kernel", "general protection fault", "kernel BUG at ",
	"watchdog: BUG: ",
}

// summary is the line that says why the kernel gave up: its last words, unless they
// only say that there were others before.
func summary(lines []logline.Line) string {
	last := lastOf(lines, panicCause)
	if last != "" && !strings.HasPrefix(last, panicCause+"Fatal exception") {
		return last
	}
	return cmp.Or(lastOf(lines, causes...), last)
}

// lastOf is the last of the lines that begins in one of the ways, without its time.
func lastOf(lines []logline.Line, prefixes ...string) string {
	for _, l := range slices.Backward(lines) {
		text := l.Text
		if strings.HasPrefix(text, "[") {
			_, text, _ = strings.Cut(text, "] ")
		}
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(text, p) }) {
			return text
		}
	}
	return ""
}
