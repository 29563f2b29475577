package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/logline"
)

const usage = "usage: tool ...\n"

func TestRunInLog(t *testing.T) {
	t.Setenv(logline.Variable, "1")
	var stderr bytes.Buffer
	fails := Command{Run: func(context.Context, []string) error {
		return errors.Join(errors.New("no paint"), errors.New("no brush"))
	}}
	if run(io.Discard, &stderr, "tool", usage, nil, []Command{fails}); stderr.String() != "<3>tool: no paint; no brush\n" {
		t.Errorf("prints %q", &stderr)
	}
}

func TestRun(t *testing.T) {
	var color string
	paint := Command{
		Name:  "paint",
		Flags: func(f *flag.FlagSet) { f.StringVar(&color, "color", "red", "") },
		Run: func(_ context.Context, args []string) error {
			if color == "none" {
				return errors.New("no paint")
			}
			return NoArguments(args)
		},
	}
	alone := paint
	alone.Name = ""
	for _, test := range []struct {
		args           string
		command        Command
		status         int
		stdout, stderr string
	}{
		{"paint", paint, 0, "", ""},
		{"paint --color blue", paint, 0, "", ""},
		{"paint --color none", paint, 1, "", "tool: no paint\n"},
		{"paint wall", paint, 2, "", "tool: unexpected argument \"wall\"\n" + usage},
		{"paint --size 3", paint, 2, "", "tool: flag provided but not defined: -size\n" + usage},
		{"paint --help", paint, 0, usage, ""},
		{"", paint, 2, "", "tool: no command given\n" + usage},
		{"draw", paint, 2, "", "tool: there is no command \"draw\"\n" + usage},
		{"help", paint, 0, usage, ""},
		{"-h", paint, 0, usage, ""},
		{"--color none", alone, 1, "", "tool: no paint\n"},
		{"--help", alone, 0, usage, ""},
		{"", alone, 0, "", ""},
		{"help", alone, 2, "", "tool: unexpected argument \"help\"\n" + usage},
	} {
		var stdout, stderr bytes.Buffer
		status := run(&stdout, &stderr, "tool", usage, strings.Fields(test.args), []Command{test.command})
		if status != test.status || stdout.String() != test.stdout || stderr.String() != test.stderr {
			t.Errorf("%q: status %d, prints %q and %q; want %d, %q and %q",
				test.args, status, &stdout, &stderr, test.status, test.stdout, test.stderr)
		}
	}
}
