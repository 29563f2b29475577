package logd

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the bytes of a line's text that are logged.
const maxText = 16 << 10

// sequence is an escape sequence of a terminal, most likely for colour: CSI, OSC
// and the short ones of ECMA-48.
var sequence = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)|[ -/]*[0-Z\\\\^-~])")

// clean makes text of what a program printed: UTF-8 without escape sequences, with
// four spaces for a tab. Other bytes that are no visible character are written as
// in Go, such as \x00.
func clean(line []byte) string {
	line = bytes.TrimRight(line, "\r\n")
	if isPlain(line) {
		return string(line[:min(len(line), maxText)])
	}
	if bytes.IndexByte(line, '\x1b') >= 0 {
		line = sequence.ReplaceAll(line, nil)
	}
	var b strings.Builder
	for len(line) > 0 && b.Len() < maxText {
		c, size := utf8.DecodeRune(line)
		switch {
		case c == '\t':
			b.WriteString("    ")
		case c == utf8.RuneError && size == 1 || !unicode.IsGraphic(c):
			quoted := strconv.Quote(string(line[:size]))
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.Write(line[:size])
		}
		line = line[size:]
	}
	return b.String()
}

// isPlain tells whether a line is visible ASCII.
func isPlain(line []byte) bool {
	for _, c := range line {
		if c < ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}
