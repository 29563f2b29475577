package status

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/logline"
)

const usage = `usage: ember status [--json | --boot]

Says what this machine is, how it is and how its last boot ended.

  --json  one JSON document, for programs
  --boot  once in each boot, for the log: also takes what the last boot left
`

// Main is the program "ember status".
func Main(args []string) int {
	var asJSON, boot bool
	return cli.Run("ember status", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) {
			f.BoolVar(&asJSON, "json", false, "")
			f.BoolVar(&boot, "boot", false, "")
		},
		Run: func(_ context.Context, args []string) error {
			if asJSON && boot {
				return cli.Misuse("--json and --boot do not go together")
			}
			if err := cli.NoArguments(args); err != nil {
				return err
			}
			out := bufio.NewWriter(os.Stdout)
			switch {
			case asJSON:
				if err := writeJSON(out, gather("/")); err != nil {
					return err
				}
			case boot:
				return bootReport(out, "/")
			default:
				for _, line := range gather("/").Lines() {
					fmt.Fprintln(out, line)
				}
			}
			return out.Flush()
		},
	})
}

func writeJSON(w io.Writer, r Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// bootReport writes the lines for the log, and clears the store of crashes once they
// are written.
func bootReport(w *bufio.Writer, root string) error {
	last, err := takeLastBoot(root)
	r := gather(root)
	r.LastBoot = last
	r.problem(err)
	for _, line := range r.Lines() {
		fmt.Fprintln(w, logline.Line{Severity: logline.Info, Text: line})
	}
	for _, line := range last.alarms() {
		fmt.Fprintln(w, line)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if last.Crash != nil {
		return last.Crash.Clear()
	}
	return nil
}
