package logs

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/stage"
)

const usage = `usage: ember log [-f] [-n LINES] [--json] [NAME...]

Prints the log of the named units, or of everything: each unit's output,
"kernel", and "init", which is PID 1. A name may leave out ".service".

  -f        go on with the lines that follow; starts with the last 10
  -n LINES  only the last lines
  --json    one JSON object on each line
`

const (
	followLines  = 10
	followPeriod = 200 * time.Millisecond
)

// Main is the program "ember log".
func Main(args []string) int {
	p := printer{dir: Dir, period: followPeriod, start: func() time.Time { return time.Now().Add(-stage.Now()) }}
	out := bufio.NewWriter(os.Stdout)
	p.out = out
	return cli.Run("ember log", usage, args, cli.Command{
		Flags: func(f *flag.FlagSet) {
			f.BoolVar(&p.follow, "f", false, "")
			f.IntVar(&p.lines, "n", -1, "")
			f.BoolVar(&p.json, "json", false, "")
		},
		Run: p.run,
	})
}

// printer prints what Main is asked for.
type printer struct {
	dir    string
	start  func() time.Time // when the kernel started, by the clock of now
	out    flusher
	period time.Duration // between two looks for new lines

	follow, json bool
	lines        int // negative for all
}

type flusher interface {
	io.Writer
	Flush() error
}

func (p *printer) run(ctx context.Context, names []string) error {
	all, err := Units(p.dir)
	if err != nil {
		return err
	}
	units := all
	if len(names) > 0 {
		if units, err = find(names, all); err != nil {
			return err
		}
	}
	lines := p.lines
	if lines < 0 && p.follow {
		lines = followLines
	}
	m := merger{dir: p.dir}
	defer m.close()
	entries, err := m.next(units)
	for {
		if err != nil {
			return err
		}
		if lines >= 0 {
			entries = entries[max(0, len(entries)-lines):]
		}
		lines = -1
		if err := p.print(entries); err != nil || !p.follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(p.period):
		}
		if len(names) == 0 {
			if units, err = Units(p.dir); err != nil {
				return err
			}
		}
		entries, err = m.next(units)
	}
}

// find gives the units that are meant by names.
func find(names, all []string) ([]string, error) {
	var units []string
	for _, name := range names {
		unit := name
		if !slices.Contains(all, unit) {
			unit += ".service"
		}
		if !slices.Contains(all, unit) {
			there := "nothing was logged yet"
			if len(all) > 0 {
				there = "there is: " + strings.Join(all, ", ")
			}
			return nil, fmt.Errorf("nothing was logged by %q; %s", name, there)
		}
		if !slices.Contains(units, unit) {
			units = append(units, unit)
		}
	}
	return units, nil
}

// merger reads several units at once.
type merger struct {
	dir     string
	readers map[string]*Reader
}

// next gives the new lines of all units, by time.
func (m *merger) next(units []string) ([]Entry, error) {
	if m.readers == nil {
		m.readers = map[string]*Reader{}
	}
	var entries []Entry
	for _, unit := range units {
		r := m.readers[unit]
		if r == nil {
			r = NewReader(m.dir, unit)
			m.readers[unit] = r
		}
		more, err := r.Next()
		if err != nil {
			return nil, err
		}
		entries = append(entries, more...)
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Boot, b.Boot) })
	return entries, nil
}

func (m *merger) close() {
	for _, r := range m.readers {
		r.Close()
	}
}

func (p *printer) print(entries []Entry) error {
	start := p.start()
	var errs []error
	for _, e := range entries {
		at := start.Add(e.Boot).UTC()
		if p.json {
			errs = append(errs, json.NewEncoder(p.out).Encode(struct {
				Time     time.Time `json:"time"`
				Boot     float64   `json:"boottime"`
				Unit     string    `json:"unit"`
				Severity string    `json:"severity"`
				Text     string    `json:"text"`
			}{at.Truncate(time.Microsecond), e.Boot.Seconds(), e.Unit, e.Severity.String(), e.Text}))
			continue
		}
		_, err := fmt.Fprintf(p.out, "%s %s: %s\n", at.Format("2006-01-02T15:04:05.000000Z"), e.Short(), e.Human())
		errs = append(errs, err)
	}
	if err := errors.Join(append(errs, p.out.Flush())...); err != nil {
		return fmt.Errorf("printing the log: %w", err)
	}
	return nil
}
