package kconfig

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A Fragment is one file of options that serve one purpose.
type Fragment struct {
	Name  string // path, as errors name it
	lines []line
}

// line is one line of a fragment. Text is what the file holds; the rest is its
// meaning, for lines that are options.
type line struct {
	text   string
	option Option
	reason string
}

func (l line) isOption() bool  { return l.option.Symbol != "" }
func (l line) isComment() bool { return !l.isOption() && l.text != "" }

// A Request is an option that a fragment asks for.
type Request struct {
	Option
	Reason   string
	Fragment string
	Line     int
}

// Where gives the request's place as file:line.
func (r Request) Where() string { return fmt.Sprintf("%s:%d", r.Fragment, r.Line) }

// ParseFragment reads a fragment. Errors name the file and the line; all lines
// are looked at.
func ParseFragment(name string, r io.Reader) (*Fragment, error) {
	f := &Fragment{Name: name}
	var errs []error
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		l, err := parseLine(s.Text())
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, n, err))
		}
		f.lines = append(f.lines, l)
	}
	if err := s.Err(); err != nil {
		errs = append(errs, fmt.Errorf("reading %s: %w", name, err))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return f, nil
}

func parseLine(text string) (line, error) {
	opt, rest, ok, err := parseOption(text)
	switch {
	case err != nil:
		return line{}, err
	case !ok && strings.HasPrefix(text, "# CONFIG_"):
		return line{}, fmt.Errorf("commented-out option %q: delete it, or ask for =n", text)
	case !ok || rest == "":
		return line{text: text, option: opt}, nil
	}
	reason, found := strings.CutPrefix(strings.TrimLeft(rest, " \t"), "#")
	if !found || !strings.HasPrefix(rest, " ") && !strings.HasPrefix(rest, "\t") {
		return line{}, fmt.Errorf("%q after the value: a reason is a comment, after a space", rest)
	}
	return line{text: text, option: opt, reason: strings.TrimSpace(reason)}, nil
}

// Write writes the fragment as it was read, with what was changed since.
func (f *Fragment) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, l := range f.lines {
		b.WriteString(l.text + "\n")
	}
	return b.Flush()
}

// Requests lists the options in order.
func (f *Fragment) Requests() []Request {
	var rs []Request
	for i, l := range f.lines {
		if l.isOption() {
			rs = append(rs, Request{l.option, l.reason, f.Name, i + 1})
		}
	}
	return rs
}

// set gives the option in place, or at the end if the fragment lacks it.
func (f *Fragment) set(opt Option, reason string) {
	l := line{
		text:   fmt.Sprintf("CONFIG_%s=%s  # %s", opt.Symbol, opt.Value, reason),
		option: opt,
		reason: reason,
	}
	for i := range f.lines {
		if f.lines[i].option.Symbol == opt.Symbol {
			f.lines[i] = l
			return
		}
	}
	f.lines = append(f.lines, l)
}
