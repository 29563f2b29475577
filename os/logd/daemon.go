package logd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/syslog"
	"golang.org/x/sys/unix"
)

// daemon is what Main runs.
type daemon struct {
	output, kmsg, store, console string // paths
	storeLimit                   int64
	secrets                      []string
	level                        slog.Level // for the consoles
	sender                       *syslog.Sender
	log                          *slog.Logger
	ready                        func() // called once everything is being read; may be nil
}

const (
	flushLimit = 2 * time.Second // for the last messages to leave the machine
	openPause  = time.Second     // before a unit's output is opened again that could not be

	// In the store, which shows no names with a dot in front.
	seenName     = ".kmsg"
	progressName = ".sent"
)

// run logs until ctx ends, and then what is still there. It also ends, with an error,
// when it can not follow the units.
func (d *daemon) run(ctx context.Context) error {
	store, err := logs.NewStore(d.store, d.storeLimit)
	if err != nil {
		return err
	}
	to := &sink{secrets: newRedactor(d.secrets), store: store, sender: d.sender, log: d.log,
		console: &consoles{path: d.console, level: d.level}, unstored: map[string]int{}}
	if d.sender != nil {
		unsent, err := resume(d.sender, d.store)
		if err != nil {
			d.log.Warn("the collector may not get what an earlier log daemon left", "err", err)
		}
		for _, m := range unsent {
			d.sender.Send(m)
		}
		sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() { defer close(ended); d.sender.Run(sending) }()
		defer func() { d.flush(sending); cancel(); <-ended }()
	}
	var following sync.WaitGroup
	defer following.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // so that the wait has an end
	if err := d.followKernel(ctx, &following, to); err != nil {
		d.log.Warn("the kernel's messages are not logged", "err", err)
	}
	return d.followUnits(ctx, &following, to)
}

func (d *daemon) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	if err := d.sender.Flush(ctx); err != nil {
		d.log.Warn("the collector does not get the end of the log", "err", err)
	}
}

func (d *daemon) followKernel(ctx context.Context, following *sync.WaitGroup, to *sink) error {
	file, err := os.OpenFile(d.kmsg, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("opening the kernel's log: %w", err)
	}
	k, err := newKernel(filepath.Join(d.store, seenName), to)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	d.follow(ctx, following, file, k)
	return nil
}

func (d *daemon) follow(ctx context.Context, following *sync.WaitGroup, file *os.File, r reader) {
	following.Go(func() {
		if err := follow(ctx, file, r); err != nil {
			d.log.Error("a part of the log ends here", "err", err)
		}
	})
}

// followUnits follows all units, also those that come later, until ctx ends.
func (d *daemon) followUnits(ctx context.Context, following *sync.WaitGroup, to *sink) error {
	if err := os.MkdirAll(d.output, 0o755); err != nil {
		return fmt.Errorf("making the directory of the units' output: %w", err)
	}
	news, err := watch(d.output)
	if err != nil {
		return err
	}
	defer news.Close()
	defer context.AfterFunc(ctx, func() { news.Close() })()
	known := map[string]bool{}
	buf := make([]byte, 4<<10)
	told := ""
	for {
		last := ctx.Err() != nil
		files, err := fifos(d.output, known)
		var again time.Time
		problem := ""
		if err != nil {
			again, problem = time.Now().Add(openPause), err.Error()
		}
		if problem != "" && problem != told {
			d.log.Warn("the output of some units is not logged for now", "err", err)
		}
		told = problem
		news.SetReadDeadline(again)
		for _, file := range files {
			d.follow(ctx, following, file, newUnit(filepath.Base(file.Name()), to))
		}
		if d.ready != nil {
			d.ready()
			d.ready = nil
		}
		if last {
			return nil
		}
		if _, err := news.Read(buf); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("waiting for new units: %w", err)
		}
	}
}
