package kconfig

import (
	"maps"
	"slices"
)

// Save writes into the fragments what a configuration session changed from before
// to after, and returns the requests it wrote. Symbols that follow from others are
// left to follow. A changed request stays in its place; a new one goes to the end
// of the given fragment. Either has a placeholder for its reason, which
// [CheckReasons] refuses: a person knows why.
func Save(fragments []*Fragment, to *Fragment, before, after Config, tree *Tree) []Request {
	symbols := maps.Clone(before)
	maps.Copy(symbols, after)
	var written []Request
	for _, symbol := range slices.Sorted(maps.Keys(symbols)) {
		value := after.Get(symbol)
		if before.Get(symbol) == value {
			continue
		}
		f, old := find(fragments, symbol)
		if f == nil && !chosen(symbol, value, after, tree) {
			continue
		}
		reason := placeholder
		if f == nil {
			f = to
		} else {
			reason += ", as " + old.Value + " it was: " + old.Reason
		}
		opt := Option{symbol, value}
		f.set(opt, reason)
		written = append(written, Request{Option: opt, Reason: reason, Fragment: f.Name})
	}
	return written
}

// chosen reports whether a person set the symbol, which no fragment names, to this
// value. Off is what it would be without a request.
func chosen(symbol, value string, c Config, tree *Tree) bool {
	return value != Off && tree.Settable(symbol, c) && len(tree.SelectedBy(symbol, c)) == 0
}

func find(fragments []*Fragment, symbol string) (*Fragment, Request) {
	for _, f := range fragments {
		for _, r := range f.Requests() {
			if r.Symbol == symbol {
				return f, r
			}
		}
	}
	return nil, Request{}
}
