package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// walk visits all commands.
func walk(c *cobra.Command, visit func(*cobra.Command)) {
	visit(c)
	for _, sub := range c.Commands() {
		walk(sub, visit)
	}
}

// Every command has help with an example, in lines of a terminal's width, and the manual has it with an example.
func TestHelp(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join(folder, "../../../docs/emberctl.md"))
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{}
	walk(new(app).root(), func(c *cobra.Command) {
		path := c.CommandPath()
		if c.Name() == "help" {
			return
		}
		if c.Short == "" || c.Example == "" {
			t.Errorf("%s has no text, or no example", path)
		}
		for line := range strings.Lines(c.Long) {
			if n := len([]rune(line)); n > 90 {
				t.Errorf("%s: a line of %d characters: %s", path, n, line)
			}
		}
		status, out, errs := d.run(append(strings.Fields(path)[1:], "--help")...)
		if status != done || errs != "" || !strings.Contains(out, c.Example) || !strings.Contains(out, "Exit status:") {
			t.Errorf("%s --help: status %d, %q", path, status, errs)
		}
		if c.HasSubCommands() {
			return
		}
		if !bytes.Contains(manual, []byte("\n    "+path+" ")) && !bytes.Contains(manual, []byte("\n    "+path+"\n")) {
			t.Errorf("the manual has no example of %s", path)
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !bytes.Contains(manual, []byte("--"+f.Name)) {
				t.Errorf("the manual does not tell of --%s, of %s", f.Name, path)
			}
		})
	})
	_, out, _ := d.run("--help")
	golden(t, "help.golden", out)
	_, out, _ = d.run("overlay", "rollback", "--help")
	golden(t, "help-rollback.golden", out)
}

func TestMisuse(t *testing.T) {
	d := &desk{}
	for args, says := range map[string]string{
		"":                                 "emberctl needs a command",
		"nods":                             "is it nodes or node?",
		"overlay":                          "emberctl overlay needs a command: list, publish, rollback",
		"overlay lost":                     "is it list?",
		"queue now":                        `takes no argument, and "now" is one`,
		"approve":                          "takes the name of a machine, and 0 are given",
		"push a":                           "takes an overlay and a repository, and 1 are given",
		"nodes --limit many":               "--limit",
		"nodes --stat x":                   "unknown flag",
		"completion tcsh":                  "only for bash, zsh and fish",
		"keygen --operator a/b":            "not an operator's name",
		"keygen --operator a --passphrase": "--passphrase is for signing.key",
		"seal tree":                        "--name is missing",
		"seal tree --name a":               "--key is missing",
		"context set":                      "takes a name",
	} {
		status, out, errs := d.run(strings.Fields(args)...)
		if status != wrongCall || out != "" || !strings.Contains(errs, says) || !strings.Contains(errs, "--help\n") {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
}
