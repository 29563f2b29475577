package executor

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ember-os/ember/os/unit"
)

const (
	newline = "\n\r"
	space   = " \t" + newline
)

// parseEnvironment reads the text of an EnvironmentFile= as systemd.exec(5) says:
// NAME=value lines, comments behind "#" and ";", values with quotes of both kinds,
// which may hold lines, and a backslash before the end of a line that goes on. What
// makes no sense is left out; each problem begins with the number of its line.
func parseEnvironment(text string) (assignments, problems []string) {
	p := envParser{text: text}
	line, counted := 1, 0
	for {
		p.skip(space)
		if p.done() {
			return assignments, problems
		}
		line += strings.Count(text[counted:p.at], "\n")
		counted = p.at
		problem := func(what string) { problems = append(problems, fmt.Sprintf("%d: %s, ignored", line, what)) }
		if c := p.peek(); c == '#' || c == ';' {
			p.comment()
			continue
		}
		n := strings.IndexAny(p.text[p.at:], "="+newline)
		if n < 0 {
			n = len(p.text) - p.at
		}
		name := strings.TrimRight(p.text[p.at:p.at+n], space)
		if p.at += n; p.done() || p.peek() != '=' {
			problem("there is no \"=\"")
			continue
		}
		p.at++
		value := p.value()
		switch {
		case !unit.IsVariable(name):
			problem("what is before \"=\" is not the name of a variable")
		case !utf8.ValidString(value) || strings.Contains(value, "\x00"):
			problem("the value of " + name + " is not text")
		default:
			assignments = append(assignments, name+"="+value)
		}
	}
}

type envParser struct {
	text string
	at   int
}

func (p *envParser) done() bool { return p.at == len(p.text) }
func (p *envParser) peek() byte { return p.text[p.at] }

func (p *envParser) next() byte {
	p.at++
	return p.text[p.at-1]
}

func (p *envParser) skip(set string) {
	for !p.done() && strings.IndexByte(set, p.peek()) >= 0 {
		p.at++
	}
}

// comment skips one, which a backslash makes longer too.
func (p *envParser) comment() {
	for !p.done() {
		switch c := p.next(); {
		case c == '\\' && !p.done():
			p.at++
		case strings.IndexByte(newline, c) >= 0:
			return
		}
	}
}

// value reads up to the end of the line. Quotes count until the first character
// outside of any; white space counts between such characters.
func (p *envParser) value() string {
	var out strings.Builder
	bare, keep := false, 0 // keep is how much of out is not white space at the end
	for !p.done() {
		c := p.next()
		switch {
		case strings.IndexByte(newline, c) >= 0:
			return out.String()[:keep]
		case c == '\\':
			bare = true
			if !p.done() {
				if c := p.next(); strings.IndexByte(newline, c) < 0 {
					out.WriteByte(c)
				}
			}
			keep = out.Len()
		case !bare && (c == '"' || c == '\''):
			p.quoted(c, &out)
			keep = out.Len()
		case strings.IndexByte(space, c) < 0:
			bare = true
			out.WriteByte(c)
			keep = out.Len()
		case bare:
			out.WriteByte(c)
		}
	}
	return out.String()[:keep]
}

// quoted reads up to the quote's end. Backslashes count in double quotes only, as
// in a shell.
func (p *envParser) quoted(quote byte, out *strings.Builder) {
	for !p.done() {
		c := p.next()
		if c == quote {
			return
		}
		if c != '\\' || quote == '\'' || p.done() {
			out.WriteByte(c)
			continue
		}
		switch c := p.next(); {
		case strings.IndexByte("\"\\`$", c) >= 0:
			out.WriteByte(c)
		case strings.IndexByte(newline, c) < 0:
			out.WriteByte('\\')
			out.WriteByte(c)
		}
	}
}
