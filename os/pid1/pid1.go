// Package pid1 is the machine's first process: it brings the system up in steps,
// then waits until the machine is asked to stop, and stops it.
//
// It never stops in silence. A step that fails and a bug in init are shown on
// every console with what happens next, which is a reboot after a delay, or shells
// to look around with if ember.debug=shell asks for them. If even this program
// ends, the kernel panics and reboots after the same delay.
package pid1

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/rootfs"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/version"
	"golang.org/x/sys/unix"
)

// system is what the steps share. The steps run one after the other in one
// goroutine, which alone may use the fields of the second group.
type system struct {
	steps    []step
	devices  string        // the directory: /dev
	output   string        // the directory of the ways to the log: output.Dir
	delay    time.Duration // before a reboot that nobody asked for, in whole seconds
	limit    time.Duration // for stopping in order, disks included
	pause    time.Duration // before unit files are read again that could not be read
	sync     func()        // writes the disks
	voice    voice
	log      *slog.Logger
	reaper   *reaper.Reaper
	requests chan power.Request // the first one ends run
	watchdog atomic.Pointer[feeding]
	services atomic.Pointer[service.Manager]

	config   cmdline.Config
	root     *rootfs.Clone
	units    <-chan unitsRead
	shells   sync.WaitGroup // of those that run
	shellsOn []string       // the terminals they were started on
}

// delay is the time to read a message before the machine reboots.
const delay = 10 * time.Second

func newSystem(steps []step) *system {
	s := &system{
		steps:    steps,
		devices:  "/dev",
		output:   output.Dir,
		delay:    delay,
		limit:    stopLimit,
		pause:    readPause,
		sync:     unix.Sync,
		reaper:   reaper.New(),
		requests: make(chan power.Request),
	}
	s.log = s.voice.log()
	return s
}

// Run is PID 1. It never returns.
func Run() {
	signals := power.Signals()
	// The kernel makes variables of parameters it does not know, some of which are
	// secrets that no child has to know.
	os.Clearenv()
	s := newSystem(steps)
	defer s.onPanicOfRun()
	stage.Print(&s.voice, stage.Start, s.identity()...)

	ctx, cancel := context.WithCancel(context.Background())
	s.spawn(func() { s.reaper.Run(context.Background()) })
	s.spawn(func() { power.Listen(context.Background(), signals, s.requests) })
	request := s.run(ctx)
	cancel()
	s.stop(request)
}

// run brings the system up and returns why it has to go down again.
func (s *system) run(ctx context.Context) power.Request {
	s.spawn(func() { s.bringUp(ctx) })
	return <-s.requests
}

// bringUp does the steps up to the first that fails, or until ctx ends: what a stop
// spoils is no failure.
func (s *system) bringUp(ctx context.Context) {
	for _, step := range s.steps {
		fields, err := step.do(s, ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.fail(ctx, step.stage, err)
			return
		}
		stage.Print(&s.voice, step.stage, fields...)
	}
	stage.Print(&s.voice, stage.Ready)
}

func (s *system) identity() []stage.Field {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		panic(err) // cannot happen
	}
	return []stage.Field{
		{Key: "version", Value: version.Version},
		{Key: "kernel", Value: unix.ByteSliceToString(uts.Release[:])},
	}
}

// openConsoles has the console write to all consoles from now on.
func (s *system) openConsoles(devices []console.Device) []error {
	errs := s.voice.console.Open(s.devices, devices)
	for _, port := range s.voice.console.Ports() {
		s.spawn(func() { port.Run(context.Background()) })
	}
	return errs
}

// spawn runs f in a goroutine of its own. No other goroutine may be started in
// PID 1: a panic that nobody catches takes the machine down without a word.
func (s *system) spawn(f func()) {
	go func() {
		defer s.onPanic()
		f()
	}()
}

// say prints a line for people.
func (s *system) say(format string, args ...any) {
	fmt.Fprintf(&s.voice, mark+format+"\n", args...)
}
