package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// WriteDoc writes the fragments in Markdown, for below a title: a heading for each
// fragment and each of its sections, and tables of options with their reasons.
func WriteDoc(w io.Writer, fragments []*Fragment) error {
	b := bufio.NewWriter(w)
	for i, f := range fragments {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "## %s\n", strings.TrimSuffix(path.Base(f.Name), ".config"))
		writeFragment(b, f.lines)
	}
	return b.Flush()
}

func writeFragment(b *bufio.Writer, lines []line) {
	titled, inTable := false, false
	for i := 0; i < len(lines); i++ {
		switch l := lines[i]; {
		case l.isComment():
			var text []string
			for ; i < len(lines) && lines[i].isComment(); i++ {
				text = append(text, strings.TrimSpace(strings.TrimPrefix(lines[i].text, "#")))
			}
			i--
			heading := ""
			if titled || inTable {
				heading = "### "
			}
			fmt.Fprintf(b, "\n%s%s\n", heading, strings.Join(text, " "))
			titled, inTable = true, false
		case l.isOption():
			if !inTable {
				b.WriteString("\n| option | value | reason |\n|---|---|---|\n")
				inTable = true
			}
			fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", l.option.Symbol, cell(l.option.Value), cell(l.reason))
		}
	}
}

// cell escapes what would end a table cell.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
