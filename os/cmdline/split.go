package cmdline

import "strings"

// Arg is one argument of a command line.
type Arg struct {
	Name  string
	Value string // without the quotes that enclosed it
	Bare  bool   // there was no "="
}

// Split separates a command line into its arguments, in their order.
//
// The rules are the kernel's (next_arg in lib/cmdline.c): arguments end at white
// space outside double quotes, nothing escapes a quote, quotes go if they enclose
// the value or the whole argument and stay anywhere else, and an "=" in front is
// part of the name. It never fails; a line that makes no sense gives arguments
// nobody asks for.
func Split(line string) []Arg {
	line, _, _ = strings.Cut(line, "\x00")
	var args []Arg
	for {
		for line != "" && isSpace(line[0]) {
			line = line[1:]
		}
		if line == "" {
			return args
		}
		var a Arg
		a, line = next(line)
		args = append(args, a)
	}
}

// next takes the first argument off a line that does not begin with white space.
func next(line string) (Arg, string) {
	line, quoted := strings.CutPrefix(line, `"`)
	inQuotes, equals, end := quoted, 0, 0
	for ; end < len(line); end++ {
		c := line[end]
		if isSpace(c) && !inQuotes {
			break
		}
		if c == '=' && equals == 0 {
			equals = end
		}
		if c == '"' {
			inQuotes = !inQuotes
		}
	}
	word, rest := line[:end], line[end:]
	if equals == 0 {
		if quoted {
			word = strings.TrimSuffix(word, `"`)
		}
		return Arg{Name: word, Bare: true}, rest
	}
	value, enclosed := strings.CutPrefix(word[equals+1:], `"`)
	if enclosed || quoted {
		value = strings.TrimSuffix(value, `"`)
	}
	return Arg{Name: word[:equals], Value: value}, rest
}

// isSpace is the kernel's isspace, which knows Latin-1's no-break space.
func isSpace(c byte) bool {
	return c == ' ' || '\t' <= c && c <= '\r' || c == 0xa0
}
