package kconfig

import (
	"fmt"
	"slices"
	"strings"
)

// A Tree is what a kernel's Kconfig files say about its symbols, as far as needed
// to tell who may set a symbol and why a request was not honoured. Defaults and
// ranges are not in it; conditions that ask the compiler count as met.
type Tree struct {
	definitions map[string][]definition
	selectors   map[string][]selector
}

// definition is one config entry of a symbol.
type definition struct {
	depends *expr
	prompt  *expr // condition of the prompt
	asked   bool  // there is a prompt
}

// selector is a symbol that forces another one on.
type selector struct {
	symbol string
	when   *expr
}

// Has reports whether the tree defines the symbol.
func (t *Tree) Has(symbol string) bool { return len(t.definitions[symbol]) > 0 }

// Settable reports whether a user may set the symbol under this configuration.
func (t *Tree) Settable(symbol string, c Config) bool {
	return slices.ContainsFunc(t.definitions[symbol], func(d definition) bool {
		return d.asked && d.depends.eval(c) != no && d.prompt.eval(c) != no
	})
}

// SelectedBy lists the symbols that force this one on.
func (t *Tree) SelectedBy(symbol string, c Config) []string {
	var by []string
	for _, s := range t.selectors[symbol] {
		if c.Get(s.symbol) != Off && s.when.eval(c) != no {
			by = append(by, s.symbol)
		}
	}
	slices.Sort(by)
	return slices.Compact(by)
}

// Explain says why the symbol may not have the value that was asked for.
func (t *Tree) Explain(symbol string, c Config) string {
	if !t.Has(symbol) {
		return "this kernel has no such symbol"
	}
	if by := t.SelectedBy(symbol, c); len(by) > 0 {
		return "selected by " + strings.Join(by, ", ")
	}
	if t.Settable(symbol, c) {
		return "it can be set: another value of its choice, or a range, overrules it"
	}
	var why []string
	for _, d := range t.definitions[symbol] {
		switch unmet := append(d.depends.unmet(c), d.prompt.unmet(c)...); {
		case len(unmet) > 0:
			why = append(why, "needs "+strings.Join(unmet, " and "))
		case !d.asked:
			why = append(why, "it has no prompt, other symbols decide")
		}
	}
	return strings.Join(slices.Compact(why), "; or ")
}

// and joins conditions of which any may be missing.
func and(es ...*expr) *expr {
	var all *expr
	for _, e := range es {
		switch {
		case e == nil:
		case all == nil:
			all = e
		default:
			all = &expr{op: "&&", left: all, right: e}
		}
	}
	return all
}

// unquote cuts a quoted string from the start of a text.
func unquote(text string) (string, string, error) {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\':
			i++
		case text[i] == text[0]:
			return text[1:i], text[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("string %s does not end", text)
}
