package logd

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/syslog"
	"github.com/google/renameio/v2"
)

// progressPeriod is how often the progress is written down. What arrived in one
// period before a crash arrives again.
const progressPeriod = time.Second

// progress is how far the collector has got the log: for each APP-NAME the time of
// its last message.
type progress struct {
	path    string
	marks   map[string]time.Duration
	written time.Time
}

// resume gives what is in the store but has not arrived, by time, and has the
// progress of the sender written down from now on. Lines with the same time as the
// last one that arrived may come again.
func resume(sender *syslog.Sender, store string) ([]syslog.Message, error) {
	p := &progress{path: filepath.Join(store, progressName)}
	sender.Arrived = p.arrived
	text, err := os.ReadFile(p.path)
	if err == nil {
		err = json.Unmarshal(text, &p.marks)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if p.marks == nil {
		p.marks = map[string]time.Duration{}
	}
	units, err2 := logs.Units(store)
	errs := []error{err, err2}
	var left []syslog.Message
	for _, unit := range units {
		r := logs.NewReader(store, unit)
		entries, err := r.Next()
		errs = append(errs, err, r.Close())
		for _, e := range entries {
			if m := message(e); m.Boot >= p.marks[m.App] {
				left = append(left, m)
			}
		}
	}
	slices.SortStableFunc(left, func(a, b syslog.Message) int { return cmp.Compare(a.Boot, b.Boot) })
	if err := errors.Join(errs...); err != nil {
		return left, fmt.Errorf("looking for what was not sent: %w", err)
	}
	return left, nil
}

// arrived is called by the sender's one goroutine.
func (p *progress) arrived(m syslog.Message) {
	p.marks[m.App] = max(m.Boot, p.marks[m.App])
	if time.Since(p.written) < progressPeriod {
		return
	}
	p.written = time.Now()
	if text, err := json.Marshal(p.marks); err == nil {
		renameio.WriteFile(p.path, text, 0o600) // without it, more is sent twice
	}
}
