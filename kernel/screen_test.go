package kernel_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

const (
	lines, columns = 24, 80
	patience       = 90 * time.Second // until the screen shows what it should
)

// screen is a person at a VT52, the simplest terminal on which the menu can be used: all it is told is to move its
// cursor and to clear.
type screen struct {
	*testing.T
	terminal     *os.File
	cell         [lines][columns]byte
	line, column int
	escape       []byte // what has come of a sequence
}

func (s *screen) String() string {
	var all []string
	for _, line := range s.cell {
		text := bytes.ReplaceAll(line[:], []byte{0}, []byte(" "))
		all = append(all, strings.TrimRight(string(text), " "))
	}
	return strings.Trim(strings.Join(all, "\n"), "\n")
}

// await reads until the screen shows text.
func (s *screen) await(text string) {
	s.Helper()
	if err := s.terminal.SetReadDeadline(time.Now().Add(patience)); err != nil {
		s.Fatal(err)
	}
	b := make([]byte, 4096)
	for !strings.Contains(s.String(), text) {
		n, err := s.terminal.Read(b)
		for _, c := range b[:n] {
			s.show(c)
		}
		if err != nil {
			s.Fatalf("the screen does not show %q: %v\n%s", text, err, s)
		}
	}
}

func (s *screen) press(keys string) {
	s.Helper()
	if _, err := io.WriteString(s.terminal, keys); err != nil {
		s.Fatal(err)
	}
}

func (s *screen) show(c byte) {
	switch {
	case len(s.escape) > 0:
		s.escape = append(s.escape, c)
		s.obey()
	case c == '\x1b':
		s.escape = []byte{c}
	case c == '\r':
		s.column = 0
	case c == '\n':
		s.line++
	case c == '\b':
		s.column--
	case c == '\t':
		s.column += 8 - s.column%8
	case c >= ' ':
		s.cell[s.line][s.column] = c
		s.column++
	}
	if s.line == lines {
		s.line--
		copy(s.cell[:], s.cell[1:])
		s.cell[s.line] = [columns]byte{}
	}
	s.column = min(max(s.column, 0), columns-1)
}

// obey does what an escape sequence says, once it is complete.
func (s *screen) obey() {
	switch s.escape[1] {
	case 'A', 'I':
		s.line--
	case 'B':
		s.line++
	case 'C':
		s.column++
	case 'D':
		s.column--
	case 'H':
		s.line, s.column = 0, 0
	case 'J':
		clear(s.cell[s.line][s.column:])
		clear(s.cell[s.line+1:])
	case 'K':
		clear(s.cell[s.line][s.column:])
	case 'Y':
		if len(s.escape) < 4 {
			return
		}
		s.line, s.column = int(s.escape[2]-' '), int(s.escape[3]-' ')
	case 'F', 'G', '=', '>': // other letters, with which lines are drawn, and other keys
	default:
		s.Fatalf("this screen does not know %q:\n%s", s.escape, s)
	}
	s.escape = nil
}
