package kconfig

import (
	"fmt"
	"strings"
)

// placeholder opens a reason that nobody has written yet.
const placeholder = "TODO"

// CheckReasons returns one problem for each request without a reason.
func CheckReasons(requests []Request) []string {
	var problems []string
	for _, r := range requests {
		if r.Reason == "" || strings.HasPrefix(r.Reason, placeholder) {
			problems = append(problems, fmt.Sprintf("%s: CONFIG_%s has no reason: write why it is %s after a #",
				r.Where(), r.Symbol, r.Value))
		}
	}
	return problems
}

// Check returns one problem for each request that the result does not honour. The
// tree, if it is not nil, says why; it also finds symbols that do not exist.
func Check(requests []Request, result Config, tree *Tree) []string {
	var problems []string
	for _, r := range requests {
		got := result.Get(r.Symbol)
		unknown := tree != nil && !tree.Has(r.Symbol)
		if got == r.Value && !unknown {
			continue
		}
		p := fmt.Sprintf("%s: CONFIG_%s: wanted %s, got %s", r.Where(), r.Symbol, r.Value, got)
		if tree != nil {
			p += ": " + tree.Explain(r.Symbol, result)
		}
		problems = append(problems, p)
	}
	return problems
}
