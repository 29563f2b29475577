package cmdline

import (
	"slices"
	"strconv"
	"strings"
)

// Secrets is what must appear in no log: passwords, also those of values that were
// not used, as they are written and as slog writes them, the longest first.
func (c Config) Secrets() []string { return c.secrets }

// secrets looks at a line twice, the second time without its quotes: one that was
// not closed hides parameters in the value of another.
func secrets(line string) []string {
	var found []string
	for _, a := range append(Split(line), Split(strings.ReplaceAll(line, `"`, " "))...) {
		for _, p := range params {
			if p.secret == nil || !same(p.Name, a.Name) {
				continue
			}
			for _, s := range p.secret(a.Value) {
				quoted := strconv.Quote(s)
				found = append(found, s, quoted[1:len(quoted)-1])
			}
		}
	}
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	found = slices.Compact(found)
	return slices.DeleteFunc(found, func(s string) bool { return s == "" })
}
