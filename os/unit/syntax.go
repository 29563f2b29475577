package unit

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

// assignment is one "Name=Value" of a file.
type assignment struct {
	File    string
	Line    int
	Section string
	Name    string
	Value   string // with its continuation lines joined
}

// where is the assignment's place, for people.
func (a assignment) where() string { return fmt.Sprintf("%s:%d", a.File, a.Line) }

// parse reads a unit file as systemd.syntax(7) says. Each assignment is left to
// go-systemd's parser; before that come the rules which it does not have: comments
// amid continuation lines, an escaped backslash at the end of a line, and lines
// that make no sense, which cost only themselves. Those are the problems.
func parse(file, text string) (assignments []assignment, problems []string) {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	section := ""
	for i := 0; i < len(lines); i++ {
		first := i + 1
		problem := func(format string, args ...any) {
			problems = append(problems, fmt.Sprintf("%s:%d: %s, ignored", file, first, fmt.Sprintf(format, args...)))
		}
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "" || isComment(line):
			continue
		case line[0] == '[' && line[len(line)-1] == ']' && isWord(line[1:len(line)-1]):
			section = line[1 : len(line)-1]
			continue
		}
		statement := strings.TrimLeft(lines[i], " \t")
		for continues(statement) && i+1 < len(lines) {
			i++
			if !isComment(strings.TrimSpace(lines[i])) {
				statement += "\n" + lines[i]
			}
		}
		if !utf8.ValidString(statement) || strings.Contains(statement, "\x00") {
			problem("the line has bytes that are not text")
			continue
		}
		if section == "" {
			problem("%q is in no section", excerpt(line))
			continue
		}
		options, err := unit.DeserializeOptions(short{strings.NewReader("[" + section + "]\n" + statement)})
		if err != nil || len(options) != 1 || !isWord(options[0].Name) {
			problem("%q is not understood", excerpt(line))
			continue
		}
		assignments = append(assignments, assignment{
			File: file, Line: first, Section: section, Name: options[0].Name,
			Value: strings.TrimSpace(strings.ReplaceAll(options[0].Value, "\\\n", " ")),
		})
	}
	return assignments, problems
}

func isComment(line string) bool { return line != "" && (line[0] == '#' || line[0] == ';') }

// isWord tells whether a text can be the name of a section or a directive.
func isWord(text string) bool {
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
	}
	return text != "" && !strings.ContainsFunc(text, bad)
}

// continues tells whether the last line of a statement ends with a backslash that
// no other one escapes.
func continues(statement string) bool {
	return (len(statement)-len(strings.TrimRight(statement, `\`)))%2 == 1
}

// excerpt is enough of a line to find it.
func excerpt(line string) string {
	const most = 40
	if len(line) > most {
		return line[:most] + "..."
	}
	return line
}

// short gives at most 1 KiB at a time. That go-systemd refuses lines longer than
// 2 KiB depends on how much it has in its buffer.
type short struct{ r io.Reader }

func (s short) Read(p []byte) (int, error) { return s.r.Read(p[:min(len(p), 1024)]) }
