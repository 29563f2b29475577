package bootreason

import (
	"context"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/stage"
)

const usage = `usage: ember reboot-reason save TEXT...

Keeps why the machine is rebooted, for "ember status" after the reboot.
`

// Main is the program "ember reboot-reason".
func Main(args []string) int {
	return cli.Run("ember reboot-reason", usage, args, cli.Command{
		Name: "save",
		Run: func(_ context.Context, args []string) error {
			if len(args) == 0 {
				return cli.Misuse("no text given")
			}
			return Save(strings.Join(args, " "))
		},
	})
}

// Save keeps a text, with the time and the uptime of now, in the default places.
func Save(text string) error {
	return Default.Save(Record{text, time.Now(), stage.Now()})
}
