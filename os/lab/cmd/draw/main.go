// Draw draws a recording of the lab as SVG.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/lab/cast"
	"github.com/ember-os/ember/tools/runfile"
)

const usage = `Usage: bazel run //os/lab/cmd/draw -- RECORDING SVG

Draws a recording that bazel run //os:lab -- --record has made.

Example:
  bazel run //os/lab/cmd/draw -- lab.cast lab.svg
`

func main() {
	os.Exit(cli.Run("draw", usage, os.Args[1:], cli.Command{Run: func(_ context.Context, args []string) error {
		if len(args) != 2 {
			return cli.Misuse("a recording and an SVG file are needed")
		}
		return draw(runfile.Locate(args[0]), runfile.Locate(args[1]))
	}}))
}

func draw(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := cast.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	return r.WriteSVG(out)
}
