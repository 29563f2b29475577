package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/spf13/cobra"
)

// jsonFlag adds --json.
func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print JSON, for programs")
}

// outcome is what a command has done to a machine.
type outcome struct {
	Node    string `json:"node"`
	Action  string `json:"action"`  // as in the audit log
	Changed bool   `json:"changed"` // false if it was so before
}

// tell prints what was done, as JSON or in words.
func (a *app) tell(asJSON bool, o outcome, words string) error {
	if asJSON {
		return printJSON(a.stdout, o)
	}
	return a.printf("%s\n", words)
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// table prints rows. A terminal's control characters in what machines say are not printed.
func table[T any](w io.Writer, header string, rows []T, cells func(T) []string) error {
	t := newColumns(w)
	fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t"))
	for _, r := range rows {
		all := cells(r)
		for i := range all {
			if all[i] = logline.Visible(all[i]); all[i] == "" {
				all[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(all, "\t"))
	}
	return t.Flush()
}

// columns lines up what is between tabs, without spaces at the ends of lines.
type columns struct {
	*tabwriter.Writer
	b bytes.Buffer
	w io.Writer
}

func newColumns(w io.Writer) *columns {
	c := &columns{w: w}
	c.Writer = tabwriter.NewWriter(&c.b, 0, 0, 2, ' ', 0)
	return c
}

func (c *columns) Flush() error {
	c.Writer.Flush() // to memory
	for line := range bytes.Lines(c.b.Bytes()) {
		if _, err := c.w.Write(append(bytes.TrimRight(line, " \n"), '\n')); err != nil {
			return err
		}
	}
	return nil
}

// stamp is a time in a table, "" for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// short is the beginning of a machine's name: enough to tell it from others.
func short(node string) string { return node[:min(len(node), 16)] }

// printf prints for people.
func (a *app) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(a.stdout, format, args...)
	return err
}
