package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/console"
	"github.com/ember-os/ember/os/manifest"
	"github.com/ember-os/ember/os/mounts"
	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/rootfs"
	"github.com/ember-os/ember/os/shell"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/watchdog"
)

// step is a part of bringing the system up. When it is done its stage is printed,
// with the fields that do returns.
type step struct {
	stage string
	do    func(*system, context.Context) ([]stage.Field, error)
}

var steps = []step{
	{stage.Devices, (*system).mountDevices},
	{stage.Cmdline, (*system).readCmdline},
	{stage.Console, (*system).showConsole},
	{stage.Tree, (*system).checkTree},
	{stage.Root, (*system).enterRoot},
	{stage.Packed, (*system).mountPacked},
	{stage.Mounts, (*system).mountSystem},
	{stage.Power, (*system).listenForPower},
	{stage.Watchdog, (*system).armWatchdog},
	{stage.Debug, (*system).debug},
	{stage.Clock, (*system).setClock},
	{stage.Services, (*system).startServices},
}

const (
	rootPercent     = 90               // of the memory may be files: containers live in them
	watchdogTimeout = 60 * time.Second // far longer than init is ever late
	shellDelay      = time.Second
)

func (s *system) mountDevices(context.Context) ([]stage.Field, error) {
	_, err := mounts.All("/", mounts.Devices)
	return nil, err
}

func (s *system) readCmdline(context.Context) ([]stage.Field, error) {
	config, errs, err := cmdline.Read()
	if err != nil {
		return nil, err
	}
	s.config = config
	s.voice.level.Set(config.Log)
	s.warn("the kernel command line has a mistake", errs...)
	if !config.KernelPanic {
		s.warn("a kernel panic will stop the machine for good", setKernelPanic(s.delay))
	}
	return []stage.Field{
		{Key: "log", Value: strings.ToLower(config.Log.String())},
		{Key: "workload", Value: string(config.EffectiveWorkload())},
	}, nil
}

// setKernelPanic has the kernel reboot some time after a panic.
func setKernelPanic(d time.Duration) error {
	return os.WriteFile("/proc/sys/kernel/panic", fmt.Appendf(nil, "%d", d/time.Second), 0)
}

func (s *system) showConsole(context.Context) ([]stage.Field, error) {
	devices := console.Devices(s.config.Consoles, s.config.SerialLines)
	s.warn("a console may stay dark", s.openConsoles(devices)...)
	var names []string
	for _, port := range s.voice.console.Ports() {
		names = append(names, port.Name)
	}
	return list("consoles", names), nil
}

// checkTree compares what the kernel unpacked with the list of what the build
// packed, and adds what the archive could not carry.
func (s *system) checkTree(context.Context) ([]stage.Field, error) {
	file, err := os.Open(manifest.Path)
	if err != nil {
		return nil, fmt.Errorf("opening the list of what the initrd holds: %w", err)
	}
	defer file.Close()
	entries, err := manifest.Read(file)
	if err != nil {
		return nil, err
	}
	if s.root, err = rootfs.New(); err != nil {
		return nil, err
	}
	var incomplete *manifest.IncompleteError
	if err := manifest.Verify(s.root.Path(), entries); errors.As(err, &incomplete) {
		return nil, fmt.Errorf("%w; the initrd was cut short on its way, or the memory is too small for it", err)
	} else if err != nil {
		return nil, err
	}
	s.warn("some files lack attributes", manifest.Restore(s.root.Path(), entries))
	return []stage.Field{{Key: "entries", Value: fmt.Sprint(len(entries))}}, nil
}

func (s *system) enterRoot(ctx context.Context) ([]stage.Field, error) {
	var taken []string
	for _, m := range mounts.Devices {
		taken = append(taken, m.Target)
	}
	if err := s.root.Enter(taken...); err != nil {
		return nil, err
	}
	s.warn("half of the memory is all that files may take", rootfs.Resize(rootPercent))
	s.units = s.beginReadUnits(ctx)
	return nil, nil
}

func (s *system) mountPacked(context.Context) ([]stage.Field, error) {
	names, err := packed.Mount("/")
	if err != nil {
		return nil, err
	}
	return list("images", names), nil
}

func (s *system) mountSystem(context.Context) ([]stage.Field, error) {
	failed, err := mounts.All("/", mounts.System)
	s.warn("going on without a filesystem", failed...)
	if err != nil {
		return nil, err
	}
	s.warn("going on without a link", mounts.LinkAll("/", mounts.Links)...)
	s.warn("init's own lines are not in the log", s.voice.journal.Open(s.output))
	s.spawn(func() {
		s.warn("services cannot write on the consoles", s.voice.console.Relay(context.Background(), console.RelayPath))
	})
	controllers, failed := mounts.DelegateControllers(mounts.CgroupRoot)
	s.warn("going on without a cgroup controller", failed...)
	return list("controllers", controllers), nil
}

func (s *system) listenForPower(ctx context.Context) ([]stage.Field, error) {
	s.warn("Ctrl-Alt-Del resets the machine at once", power.TakeCtrlAltDel())
	buttons, err := power.Buttons(filepath.Join(s.devices, "input"))
	s.warn("a power button may not work", err)
	var names []string
	for _, b := range buttons {
		names = append(names, b.Name)
		s.spawn(func() { s.warn("a power button does not work any more", b.Run(ctx, s.requests)) })
	}
	return list("buttons", names), nil
}

func (s *system) armWatchdog(context.Context) ([]stage.Field, error) {
	w, err := watchdog.Arm(filepath.Join(s.devices, "watchdog"), watchdogTimeout)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			s.warn("going on without a watchdog", err)
		}
		return list("device", nil), nil
	}
	s.feed(w)
	return []stage.Field{{Key: "device", Value: w.Identity}, {Key: "timeout", Value: w.Timeout.String()}}, nil
}

// feeding is that of the watchdog.
type feeding struct {
	cancel context.CancelFunc
	ended  <-chan struct{}
	disarm func() error // not before ended; the same error each time
}

// feed has the watchdog fed until the machine is stopped by force.
func (s *system) feed(w *watchdog.Watchdog) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	s.watchdog.Store(&feeding{cancel, ended, sync.OnceValue(w.Disarm)})
	s.spawn(func() {
		defer close(ended)
		w.Run(ctx, s.log)
	})
}

func (s *system) debug(ctx context.Context) ([]stage.Field, error) {
	d := s.config.Debug
	if d.Shell {
		s.startShells(ctx)
	}
	if d.Fail {
		return nil, errors.New("ember.debug=fail asked for this failure")
	}
	if d.Panic {
		panic("ember.debug=panic asked for this panic")
	}
	return list("shells", s.shellsOn), nil
}

// startShells starts a shell on every console, unless it was done before.
func (s *system) startShells(ctx context.Context) {
	if s.shellsOn != nil {
		return
	}
	sh := &shell.Shell{Path: shell.Path, Delay: shellDelay, Reaper: s.reaper}
	for _, port := range s.voice.console.Ports() {
		name := console.Terminal(port.Name)
		s.shellsOn = append(s.shellsOn, name)
		s.shells.Add(1)
		s.spawn(func() {
			defer s.shells.Done()
			s.warn("there is no debug shell on "+name, sh.Run(ctx, filepath.Join(s.devices, name)))
		})
	}
}

// warn reports errors that the boot survives, with their consequence. Nil ones are
// none.
func (s *system) warn(consequence string, errs ...error) {
	for _, err := range errs {
		if err != nil {
			s.log.Warn(consequence, "err", err)
		}
	}
}

// list is a field with all values, "none" if there are none.
func list(key string, values []string) []stage.Field {
	if values == nil {
		values = []string{"none"}
	}
	return []stage.Field{{Key: key, Value: strings.Join(values, ",")}}
}
