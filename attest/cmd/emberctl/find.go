package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/logline"
)

// leastName is how much of a machine's name is taken for it: nobody types it by accident.
const leastName = 4

// find finds the machine whose name begins with text, and a line about it.
func (o *connection) find(ctx context.Context, c *admin.Client, text string) (node, about string, err error) {
	if len(text) < leastName || strings.Trim(text, "0123456789abcdef") != "" || len(text) > 64 {
		return "", "", misuse("%q is not the name of a machine, 64 digits of lower-case hex, or its first %d or more", text, leastName)
	}
	var page admin.Nodes
	err = o.within(ctx, func(ctx context.Context) error {
		page, err = c.Nodes(ctx, view.Filter{Node: text}, "", 2)
		return err
	})
	if err != nil {
		return "", "", err
	}
	switch found := page.Nodes; len(found) {
	case 0:
		return "", "", fmt.Errorf("no machine is known whose name begins with %s: emberctl nodes lists them: %w", text, store.ErrNotFound)
	case 1:
		return found[0].Node, describe(found[0]), nil
	default:
		return "", "", misuse("the names of several machines begin with %s: %s and %s", text, found[0].Node, found[1].Node)
	}
}

// describe is what is known of a machine, in one line.
func describe(r view.Row) string {
	parts := []string{r.State}
	for _, p := range []struct{ name, value string }{
		{"note ", r.Note}, {"serial ", r.Serial}, {"host ", r.Hostname}, {"last seen at ", r.Address}, {"", r.Verdict}, {"attested ", stamp(r.Attested)},
	} {
		if p.value != "" {
			parts = append(parts, p.name+logline.Visible(p.value))
		}
	}
	return strings.Join(parts, ", ")
}
