package logd

import (
	"bytes"
	"unicode/utf8"
)

// maxText is the bytes of a line, as it was printed, that are taken at once.
const maxText = 16 << 10

// lines cuts what a program prints into lines. A line that is longer than maxText,
// or not complete for a while, is taken in parts.
type lines struct {
	secrets redactor // none of which is cut
	// take gets a line or a part of one. Parts behind the first are told.
	take func(line []byte, more bool)

	rest []byte // of a line without its end
	more bool   // the line has begun
}

func (l *lines) add(text []byte) {
	l.rest = append(l.rest, text...)
	rest := l.rest
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(line) > maxText {
			rest = rest[l.part(line[:maxText]):]
			continue
		}
		if !whole {
			break
		}
		l.take(line, l.more)
		l.more = false
		rest = after
	}
	l.rest = append(l.rest[:0], rest...)
}

// part takes a part of a line, and gives its length.
func (l *lines) part(text []byte) int {
	n := len(text) - l.secrets.hold(text)
	// A character is not cut either, if it is one.
	for i := 1; i < utf8.UTFMax && i < n; i++ {
		if c := text[n-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[n-i : n]) {
				n -= i
			}
			break
		}
	}
	if n > 0 {
		l.take(text[:n], l.more)
		l.more = true
	}
	return n
}

// idle takes what there is of a line whose end does not come.
func (l *lines) idle() {
	l.rest = append(l.rest[:0], l.rest[l.part(l.rest):]...)
}

// end takes everything that is left.
func (l *lines) end() {
	l.idle()
	if len(l.rest) > 0 {
		l.take([]byte(mask), l.more)
	}
}

// pending tells whether a line has begun that idle can take.
func (l *lines) pending() bool { return len(l.rest) > l.secrets.hold(l.rest) }
