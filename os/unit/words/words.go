// Package words splits text into words as systemd does: at white space, with
// quotes of both kinds anywhere in a word and with backslashes. See "Quoting" in
// systemd.syntax(7).
package words

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Space is what separates words.
const Space = " \t\n\r"

// ErrQuote is the error of a quote that does not end.
var ErrQuote = errors.New("a quote does not end")

// Scanner takes words off a text.
type Scanner struct {
	Text string // what is left
	// Lax is how the values of variables are split: a backslash stands for the
	// character behind it, whatever it is, and the end of the text ends a quote.
	Lax bool
	// Unknown is the escape sequences that have no meaning. They stay as they are.
	Unknown []string
}

// Next returns the next word, and false if there is none.
func (s *Scanner) Next() (string, bool, error) {
	s.Text = strings.TrimLeft(s.Text, Space)
	if s.Text == "" {
		return "", false, nil
	}
	var word strings.Builder
	quote := byte(0)
	for s.Text != "" {
		c := s.Text[0]
		if c == '\\' {
			s.escape(&word)
			continue
		}
		s.Text = s.Text[1:]
		switch {
		case c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && strings.IndexByte(Space, c) >= 0:
			return word.String(), true, nil
		default:
			word.WriteByte(c)
		}
	}
	if quote != 0 && !s.Lax {
		return "", false, ErrQuote
	}
	return word.String(), true, nil
}

// All returns all words.
func (s *Scanner) All() ([]string, error) {
	var all []string
	for {
		word, ok, err := s.Next()
		if !ok {
			return all, err
		}
		all = append(all, word)
	}
}

// single is the escape sequences of one character behind the backslash.
var single = map[byte]byte{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	's': ' ', '\\': '\\', '"': '"', '\'': '\'',
}

// escape takes an escape sequence off the text. Those that make a NUL, which no
// argument and no variable can hold, have no meaning.
func (s *Scanner) escape(word *strings.Builder) {
	text := s.Text[1:]
	if s.Lax {
		_, n := utf8.DecodeRuneInString(text)
		word.WriteString(text[:n])
		s.Text = text[n:]
		return
	}
	if text != "" {
		if c, ok := single[text[0]]; ok {
			word.WriteByte(c)
			s.Text = text[1:]
			return
		}
		if n, ok := numeric(text, word); ok {
			s.Text = text[n:]
			return
		}
	}
	_, n := utf8.DecodeRuneInString(text)
	s.Unknown = append(s.Unknown, s.Text[:1+n])
	word.WriteString(s.Text[:1+n])
	s.Text = text[n:]
}

// numeric reads the sequence of a byte (xHH, OOO) or of a character (uHHHH,
// UHHHHHHHH), and returns its length.
func numeric(text string, word *strings.Builder) (int, bool) {
	start, digits, base := 1, 0, 16
	switch text[0] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	case 'U':
		digits = 8
	default:
		start, digits, base = 0, 3, 8
	}
	end := start + digits
	if len(text) < end {
		return 0, false
	}
	v, err := strconv.ParseUint(text[start:end], base, 32)
	if err != nil || v == 0 {
		return 0, false
	}
	if digits <= 3 {
		if v > 0xff {
			return 0, false
		}
		word.WriteByte(byte(v))
		return end, true
	}
	if v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
		return 0, false
	}
	word.WriteRune(rune(v))
	return end, true
}
