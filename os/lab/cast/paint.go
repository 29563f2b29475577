package cast

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// painter makes lines of what was written.
type painter struct {
	recording *Recording
	look      Span // without text
	open      bool // the last line goes on
	escape    []byte
}

const longest = 1 << 20 // seconds

// event takes a line of a recording.
func (p *painter) event(line []byte) error {
	var fields []json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return err
	}
	if len(fields) != 3 {
		return errors.New("an event has three fields")
	}
	var at float64
	var kind, text string
	if err := errors.Join(json.Unmarshal(fields[0], &at), json.Unmarshal(fields[1], &kind), json.Unmarshal(fields[2], &text)); err != nil {
		return err
	}
	if at < 0 || at > longest {
		return errors.New("its time makes no sense")
	}
	if kind == output {
		p.write(time.Duration(at*float64(time.Second)), text)
	}
	return nil
}

func (p *painter) write(at time.Duration, text string) {
	for _, r := range text {
		switch {
		case p.escape != nil:
			p.control(r)
		case r == 0x1b:
			p.escape = []byte{}
		case r == '\n':
			p.line(at)
			p.open = false
		case r == '\t':
			p.put(at, ' ')
		case r >= ' ' && r != 0x7f && r != utf8.RuneError && !(r >= 0x80 && r < 0xa0) && r != 0xfffe && r != 0xffff:
			p.put(at, r)
		}
	}
}

// line makes sure that there is one that goes on.
func (p *painter) line(at time.Duration) *Line {
	if !p.open {
		p.recording.Lines = append(p.recording.Lines, Line{At: at})
		p.open = true
	}
	return &p.recording.Lines[len(p.recording.Lines)-1]
}

func (p *painter) put(at time.Duration, r rune) {
	l := p.line(at)
	if n := len(l.Spans); n == 0 || !same(l.Spans[n-1], p.look) {
		l.Spans = append(l.Spans, p.look)
	}
	l.Spans[len(l.Spans)-1].Text += string(r)
}

func same(a, b Span) bool { return a.Bold == b.Bold && a.Faint == b.Faint && a.Green == b.Green }

// control takes the characters of a control sequence, behind the escape.
func (p *painter) control(r rune) {
	if r > 0x7e || r < ' ' || len(p.escape) > 32 {
		p.escape = nil
		return
	}
	p.escape = append(p.escape, byte(r))
	if len(p.escape) == 1 {
		if r != '[' { // a short one
			p.escape = nil
		}
		return
	}
	if r < '@' {
		return
	}
	sequence := string(p.escape)
	p.escape = nil
	if r != 'm' {
		return
	}
	for _, parameter := range strings.Split(strings.Trim(sequence, "[m"), ";") {
		switch parameter {
		case "", "0":
			p.look = Span{}
		case "1":
			p.look.Bold = true
		case "2":
			p.look.Faint = true
		case "32":
			p.look.Green = true
		}
	}
}
