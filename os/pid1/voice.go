package pid1

import (
	"bytes"
	"fmt"
	"log/slog"

	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/output"
)

// voice is how init speaks: on all consoles, and to the log. Both keep what is
// said before they are there.
type voice struct {
	console console.Console
	journal output.Early
	level   slog.LevelVar // the least that is shown on consoles
}

const mark = "ember: " // before each of our lines, among the kernel's

// Write says whole lines for people, of which ours are marked.
func (v *voice) Write(lines []byte) (int, error) {
	for line := range bytes.Lines(lines) {
		fmt.Fprintf(&v.journal, "<%d>%s", logline.Info, bytes.TrimPrefix(line, []byte(mark)))
	}
	return v.console.Write(lines)
}

// log logs what is worth a console or at least informational.
func (v *voice) log() *slog.Logger { return logline.New(logged{v}, slog.LevelDebug) }

// logged takes the lines of a logger.
type logged struct{ *voice }

func (l logged) Write(line []byte) (int, error) {
	parsed := logline.Parse(string(bytes.TrimSuffix(line, []byte("\n"))))
	if parsed.Severity.Level() >= min(l.level.Level(), slog.LevelInfo) {
		l.journal.Write(line)
	}
	if parsed.Severity.Level() >= l.level.Level() {
		fmt.Fprintf(&l.console, mark+"%s\n", parsed.Human())
	}
	return len(line), nil
}
