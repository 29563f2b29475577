package unit

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ember-os/ember/os/unit/words"
)

// commands adds command lines to a list, as in "Command lines" of
// systemd.service(5); an empty value clears it. As long as it has a command that makes
// no sense the unit does not run, unless its failure would be ignored too.
func commands(list func(*Service) *[]Command) directive {
	return func(b *builder, value string) error {
		if value == "" {
			*list(b.unit.Service) = nil
			delete(b.refused, b.at.Name)
			return nil
		}
		for rest := value; rest != ""; {
			var c Command
			var err error
			if c, rest, err = b.command(rest); err != nil {
				if _, already := b.refused[b.at.Name]; !already && !c.IgnoreFailure {
					b.refused[b.at.Name] = fmt.Sprintf("%s: %s=: %v", b.at.where(), b.at.Name, err)
				}
				return err
			}
			*list(b.unit.Service) = append(*list(b.unit.Service), c)
		}
		return nil
	}
}

// command takes a command off a command line, on which ";" separates them.
func (b *builder) command(line string) (c Command, rest string, err error) {
	s := words.Scanner{Text: line}
	defer func() { b.unknown(s.Unknown) }()
	program, _, err := s.Next()
	if err != nil {
		return c, "", err
	}
	name := strings.TrimLeft(program, "-@:+!")
	prefixes := program[:len(program)-len(name)]
	c.IgnoreFailure = strings.Contains(prefixes, "-")
	c.Literal = strings.Contains(prefixes, ":")
	if c.Path, err = b.expand(name); err != nil {
		return c, "", err
	}
	if c.Path == "" || !path.IsAbs(c.Path) && strings.Contains(c.Path, "/") {
		return c, "", fmt.Errorf("%q is neither an absolute path nor the name of a program", c.Path)
	}
	if path.IsAbs(c.Path) {
		c.Path = path.Clean(c.Path)
	}
	ownName := strings.Contains(prefixes, "@")
	if !ownName {
		c.Args = []string{c.Path}
	}
	for !c.end(&s) {
		word, ok, err := s.Next()
		if err != nil {
			return c, "", err
		}
		if !ok {
			break
		}
		if word, err = b.expand(word); err != nil {
			return c, "", err
		}
		c.Args = append(c.Args, word)
	}
	if len(c.Args) == 0 {
		return c, "", errors.New(`"@" wants a second word, the program's name for itself`)
	}
	return c, strings.TrimLeft(s.Text, words.Space), nil
}

// end takes the word ";", which ends a command. "\;" is an argument.
func (c *Command) end(s *words.Scanner) bool {
	for {
		s.Text = strings.TrimLeft(s.Text, words.Space)
		n := strings.IndexAny(s.Text, words.Space)
		if n < 0 {
			n = len(s.Text)
		}
		switch s.Text[:n] {
		case ";":
			s.Text = s.Text[n:]
			return true
		case `\;`:
			s.Text = s.Text[n:]
			c.Args = append(c.Args, ";")
		default:
			return false
		}
	}
}

// environment adds variables.
func environment(b *builder, value string) error {
	s := b.unit.Service
	if value == "" {
		s.Environment = nil
		return nil
	}
	variables, err := b.words(value)
	if err != nil {
		return err
	}
	for _, v := range variables {
		name, _, ok := strings.Cut(v, "=")
		if !ok || !IsVariable(name) {
			b.problem(": %q is not of the form NAME=value, ignored", excerpt(v))
			continue
		}
		s.Environment = append(s.Environment, v)
	}
	return nil
}

// IsVariable tells whether an environment variable can have that name.
func IsVariable(name string) bool {
	return isWord(name) && !('0' <= name[0] && name[0] <= '9') && !strings.Contains(name, "-")
}

func environmentFile(b *builder, value string) error {
	s := b.unit.Service
	if value == "" {
		s.EnvironmentFiles = nil
		return nil
	}
	at, optional := strings.CutPrefix(value, "-")
	at, err := b.expand(at)
	if err != nil {
		return err
	}
	if !path.IsAbs(at) {
		return fmt.Errorf("%q is not an absolute path", at)
	}
	s.EnvironmentFiles = append(s.EnvironmentFiles, EnvironmentFile{Path: path.Clean(at), Optional: optional})
	return nil
}
