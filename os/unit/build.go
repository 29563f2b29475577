package unit

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ember-os/ember/os/unit/words"
)

// builder makes a unit out of the assignments in its files.
type builder struct {
	unit Unit
	at   assignment // the one that is being applied

	before, conflicts []string

	// What depends on other directives, as far as it was given.
	typ                           string
	startTimeout                  *time.Duration
	standardOutput, standardError Output
	refused                       map[string]string // by directive: why its value keeps the unit from running
}

// The defaults of systemd.service(5) and systemd-system.conf(5).
const (
	defaultTimeout       = 90 * time.Second
	defaultRestartSec    = 100 * time.Millisecond
	defaultLimitInterval = 10 * time.Second
	defaultLimitBurst    = 5
)

func newBuilder(name string) *builder {
	b := &builder{unit: Unit{Name: name}, refused: map[string]string{}}
	if kind(name) == service {
		b.unit.Service = &Service{
			WorkingDirectory: "/",
			Restart:          "no",
			RestartSec:       defaultRestartSec,
			StopTimeout:      defaultTimeout,
			LimitInterval:    defaultLimitInterval,
			LimitBurst:       defaultLimitBurst,
			KillMode:         "control-group",
		}
	}
	return b
}

// problem notes what is wrong with the assignment.
func (b *builder) problem(format string, args ...any) {
	b.unit.Problems = append(b.unit.Problems,
		fmt.Sprintf("%s: %s=%s", b.at.where(), b.at.Name, fmt.Sprintf(format, args...)))
}

// fail says why the unit can not run; the first reason counts.
func (b *builder) fail(format string, args ...any) {
	if b.unit.Error == "" {
		b.unit.Error = fmt.Sprintf(format, args...)
	}
}

// file applies a file.
func (b *builder) file(path, text string) {
	assignments, problems := parse(path, text)
	b.unit.Problems = append(b.unit.Problems, problems...)
	section := ""
	for _, a := range assignments {
		b.at = a
		var known map[string]directive
		switch {
		case a.Section == "Install", strings.HasPrefix(a.Section, "X-"), strings.HasPrefix(a.Name, "X-"):
			continue
		case a.Section == "Unit":
			known = unitDirectives
		case a.Section == "Service" && b.unit.Service != nil:
			known = serviceDirectives
		case a.Section != section:
			b.unit.Problems = append(b.unit.Problems,
				fmt.Sprintf("%s: the section [%s] is not supported, ignored", a.where(), a.Section))
			fallthrough
		default:
			section = a.Section
			continue
		}
		section = a.Section
		apply, ok := known[a.Name]
		if !ok {
			b.problem(" is not supported, ignored")
			continue
		}
		if err := apply(b, a.Value); err != nil {
			b.problem(": %v, ignored", err)
		}
	}
}

// finish applies the rules that need the whole unit.
func (b *builder) finish() Unit {
	if s := b.unit.Service; s != nil {
		b.finishService(s)
	}
	return b.unit
}

func (b *builder) finishService(s *Service) {
	for _, name := range slices.Sorted(maps.Keys(b.refused)) {
		b.fail("%s", b.refused[name])
	}
	switch b.typ {
	case "", "simple", "exec", "dbus", "idle":
		s.Type = Simple
	case "notify", "notify-reload":
		s.Type = Notify
	case "oneshot":
		s.Type = Oneshot
	case "forking":
		s.Type = Simple
		b.fail("Type=forking is not supported: let the program stay in the foreground")
	}
	s.StartTimeout = defaultTimeout
	if s.Type == Oneshot {
		s.StartTimeout = 0
	}
	if b.startTimeout != nil {
		s.StartTimeout = *b.startTimeout
	}
	switch {
	case len(s.ExecStart) == 0:
		b.fail("it has no ExecStart=")
	case len(s.ExecStart) > 1 && s.Type != Oneshot:
		b.fail("it has more than one ExecStart=, which only Type=oneshot may have")
	case s.Type == Oneshot && (s.Restart == "always" || s.Restart == "on-success"):
		b.fail("Type=oneshot can not have Restart=%s", s.Restart)
	}
	s.Output = Journal
	if b.standardOutput != "" {
		s.Output = b.standardOutput
	}
	if b.standardError != "" && b.standardError != s.Output {
		b.unit.Problems = append(b.unit.Problems,
			fmt.Sprintf("StandardError=%s is not supported where standard output goes to %s, and goes there too", b.standardError, s.Output))
	}
}

// expand expands the specifiers in a value.
func (b *builder) expand(text string) (string, error) {
	if !utf8.ValidString(text) { // by way of escape sequences
		return "", fmt.Errorf("%q is not UTF-8", text)
	}
	return expand(b.unit.Name, text)
}

// words splits a value into words and expands their specifiers.
func (b *builder) words(value string) ([]string, error) {
	s := words.Scanner{Text: value}
	all, err := s.All()
	if err != nil {
		return nil, err
	}
	b.unknown(s.Unknown)
	for i := range all {
		if all[i], err = b.expand(all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// unknown reports escape sequences that stay as they are.
func (b *builder) unknown(sequences []string) {
	for _, s := range sequences {
		b.problem(": the escape sequence %#q is not known, and stays as it is; %#q stands for a backslash", s, `\\`)
	}
}
