package executor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/ember-os/ember/os/unit"
)

// environment is variables in the order in which they came up.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(assignments ...string) {
	for _, a := range assignments {
		name, value, _ := strings.Cut(a, "=")
		if _, ok := e.values[name]; !ok {
			e.names = append(e.names, name)
		}
		e.values[name] = value
	}
}

func (e *environment) list() []string {
	all := make([]string, len(e.names))
	for i, name := range e.names {
		all[i] = name + "=" + e.values[name]
	}
	return all
}

// mostProblems is how many of a file are worth a warning.
const mostProblems = 16

// environment is what the program gets: PID 1's variables, then those of
// Environment=, then those of the files in their order; the last one counts.
func (s Spec) environment(warn func(string)) (*environment, error) {
	env := &environment{values: map[string]string{}}
	env.set(s.Environ...)
	env.set(s.Service.Environment...)
	for _, f := range s.Service.EnvironmentFiles {
		paths, err := matches(f)
		if err != nil {
			return nil, failed(exitConfig, "EnvironmentFile=%s: %w", f.Path, err)
		}
		for _, path := range paths {
			text, err := readFile(path)
			switch {
			case err == nil:
			case !f.Optional:
				return nil, failed(exitConfig, "EnvironmentFile=%s: %w", f.Path, err)
			case errors.Is(err, fs.ErrNotExist):
				continue
			default:
				warn(fmt.Sprintf("EnvironmentFile=-%s: %v", f.Path, err))
				continue
			}
			assignments, problems := parseEnvironment(text)
			for i, p := range problems {
				if i == mostProblems {
					warn(fmt.Sprintf("%s: there are %d more problems", path, len(problems)-i))
					break
				}
				warn(path + ":" + p)
			}
			env.set(assignments...)
		}
	}
	return env, nil
}

// matches is the files that an EnvironmentFile= means, whose path may be a pattern.
func matches(f unit.EnvironmentFile) ([]string, error) {
	if !strings.ContainsAny(f.Path, `*?[\`) {
		return []string{f.Path}, nil
	}
	paths, err := filepath.Glob(f.Path)
	if err == nil && len(paths) == 0 && !f.Optional {
		err = fs.ErrNotExist
	}
	return paths, err
}

// readFile reads a file of at most 1 MiB.
func readFile(path string) (string, error) {
	const longest = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, longest+1))
	if err == nil && len(text) > longest {
		err = fmt.Errorf("it has more than %d bytes", longest)
	}
	return string(text), err
}

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
