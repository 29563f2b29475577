package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

const docHead = `# Kernel options

What the kernel is asked for, and why, in the order of kernel/fragments, from
which this page is generated. What is not here is off unless something here needs
it; the resolved configuration is in /proc/config.gz.
`

// WriteDoc writes the fragments as a Markdown page: a heading for each fragment
// and each of its sections, and tables of options with their reasons.
func WriteDoc(w io.Writer, fragments []*Fragment) error {
	b := bufio.NewWriter(w)
	b.WriteString(docHead)
	for _, f := range fragments {
		fmt.Fprintf(b, "\n## %s\n", strings.TrimSuffix(path.Base(f.Name), ".config"))
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
