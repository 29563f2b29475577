package logd

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean makes text of what a program printed: UTF-8 without escape sequences, with
// four spaces for a tab. Other bytes that are no visible character are written as
// in Go, such as \x00.
func clean(line []byte) string {
	line = bytes.TrimRight(line, "\r\n")
	if isPlain(line) {
		return string(line)
	}
	var b strings.Builder
	for len(line) > 0 {
		if n := sequence(line); n > 0 {
			line = line[n:]
			continue
		}
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

// sequence is the length of the escape sequence of a terminal, most likely for
// colour, that a text begins with: a CSI or OSC of ECMA-48 or a short one.
func sequence(text []byte) int {
	if len(text) < 2 || text[0] != '\x1b' {
		return 0
	}
	i := 1
	switch text[1] {
	case ']':
		i = 2 + bytes.IndexAny(text[2:], "\a\x1b")
		switch {
		case i < 2:
			return 0
		case text[i] == '\a':
			return i + 1
		case i+1 < len(text) && text[i+1] == '\\':
			return i + 2
		}
		return 0
	case '[':
		for i = 2; i < len(text) && '0' <= text[i] && text[i] <= '?'; i++ {
		}
	}
	for ; i < len(text) && ' ' <= text[i] && text[i] <= '/'; i++ {
	}
	first := byte('0')
	if text[1] == '[' {
		first = '@'
	}
	if i < len(text) && first <= text[i] && text[i] <= '~' {
		return i + 1
	}
	return 0
}
