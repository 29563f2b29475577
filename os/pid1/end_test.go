package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/unit"
	"github.com/ember-os/ember/os/watchdog"
)

func TestFail(t *testing.T) {
	t.Parallel()
	broken := func(*system, context.Context) ([]stage.Field, error) { return nil, errors.New("it broke") }
	s, console := testSystem(t, step{stage.Devices, good}, step{stage.Mounts, broken}, step{stage.Power, good})
	if got, want := s.run(t.Context()), (power.Request{Action: power.Reboot, Reason: "bring-up failed"}); got != want {
		t.Errorf("ended by %v, want %v", got, want)
	}
	lines := console()
	if got := names(lines); !slices.Equal(got, []string{stage.Devices, stage.Failed}) {
		t.Fatalf("stages %q", got)
	}
	if l := lines[1]; l.Get("step") != stage.Mounts || l.Get("error") != "it broke" || l.Get("next") != "reboot in 1s" {
		t.Errorf("it says %v", l)
	}
}

// TestFailWithoutShell asks for shells on a console that is no terminal.
func TestFailWithoutShell(t *testing.T) {
	t.Parallel()
	broken := func(*system, context.Context) ([]stage.Field, error) { return nil, errors.New("it broke") }
	s, console := testSystem(t, step{stage.Devices, broken})
	s.config.Debug.Shell = true
	if got := s.run(t.Context()); got.Action != power.Reboot {
		t.Errorf("ended by %v", got)
	}
	if lines := console(); len(lines) != 1 || !strings.HasPrefix(lines[0].Get("next"), "shells on all consoles") {
		t.Errorf("stages %v", lines)
	}
	text, _ := os.ReadFile(filepath.Join(s.devices, "console"))
	for _, want := range []string{"ember: warning: there is no debug shell on console err=", "ember: reboot in 1s\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the console does not show %q", want)
		}
	}

	stopping, cancel := context.WithCancel(t.Context())
	cancel()
	s.fail(stopping, stage.Devices, errors.New("it broke")) // does not ask for a reboot
}

// TestStopDuringBringUp is asked to stop during a step that does not survive this.
func TestStopDuringBringUp(t *testing.T) {
	for _, err := range []error{nil, context.Canceled} {
		ctx, cancel := context.WithCancel(t.Context())
		s, console := testSystem(t,
			step{stage.Devices, func(*system, context.Context) ([]stage.Field, error) { cancel(); return nil, err }},
			step{stage.Mounts, func(*system, context.Context) ([]stage.Field, error) { panic("it goes on") }})
		s.bringUp(ctx)
		if lines := console(); len(lines) > 0 {
			t.Errorf("after a step that gives %v come the stages %v", err, names(lines))
		}
	}
}

func TestPanic(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*system, context.Context) ([]stage.Field, error){
		"in a step": func(*system, context.Context) ([]stage.Field, error) { panic("a bug") },
		"in a goroutine": func(s *system, _ context.Context) ([]stage.Field, error) {
			s.spawn(func() { panic("a bug") })
			select {}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, console := testSystem(t, step{stage.Devices, do})
			if got, want := s.run(t.Context()), (power.Request{Action: power.Reboot, Reason: "init panicked"}); got != want {
				t.Errorf("ended by %v, want %v", got, want)
			}
			lines := console()
			if len(lines) != 1 || lines[0].Name != stage.Panic || lines[0].Get("error") != "a bug" {
				t.Errorf("stages %v", lines)
			}
			text, _ := os.ReadFile(filepath.Join(s.devices, "console"))
			for _, want := range []string{"panic: a bug\n", "end_test.go", "ember: reboot in 1s\n"} {
				if !strings.Contains(string(text), want) {
					t.Errorf("the console does not show %q", want)
				}
			}
		})
	}
}

func TestRequestDuringDelay(t *testing.T) {
	s, _ := testSystem(t, step{stage.Devices, func(*system, context.Context) ([]stage.Field, error) { return nil, errors.New("it broke") }})
	s.delay = time.Hour
	want := power.Request{Action: power.PowerOff, Reason: "test"}
	go func() { s.requests <- want }()
	if got := s.run(t.Context()); got != want {
		t.Errorf("ended by %v", got)
	}
}

// dog is a watchdog that says what is done to it, or one that hangs.
type dog struct {
	fed   chan struct{} // closed by the first feeding
	hangs bool
}

func (d *dog) Write(food []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "watchdog: %q\n", food)
	select {
	case <-d.fed:
	default:
		close(d.fed)
	}
	if d.hangs {
		time.Sleep(time.Hour)
	}
	return len(food), nil
}

func (d *dog) Close() error { return nil }

// TestStop stops a PID namespace, which ends its PID 1 by a signal that tells how,
// see reboot(2).
func TestStop(t *testing.T) {
	if end := os.Getenv("END"); end != "" {
		s := newSystem(nil)
		s.devices, s.output = t.TempDir(), t.TempDir()
		s.openConsoles(nil)
		d := &dog{make(chan struct{}), end == "hangs"}
		s.feed(&watchdog.Watchdog{Timeout: time.Hour, Device: d})
		<-d.fed
		s.sync = func() { fmt.Fprintln(os.Stderr, "sync") }
		if end == "forced" { // children that nobody waits for hold the machine up for long
			s.limit = time.Millisecond
		} else {
			s.spawn(func() { s.reaper.Run(t.Context()) })
		}
		if _, err := s.reaper.Start("/proc/self/exe", []string{"child"}, &syscall.ProcAttr{}); err != nil {
			t.Fatal(err)
		}
		if end == "panic" {
			s.delay = time.Second
			defer s.onPanicOfRun()
			panic("a bug")
		}
		action := power.PowerOff
		switch end {
		case "kexec":
			action = power.Kexec
		case "halt", "forced":
			action = power.Halt
		case "hangs":
			s.sync = func() { time.Sleep(time.Hour) }
		}
		s.stop(power.Request{Action: action, Reason: "test"})
	}
	const (
		fed   = `(?s)watchdog: "\\x00"\n.*`
		left  = fed + fed + `sync\n.*`
		quiet = fed + fed + `watchdog: "V"\n.*sync\n.*`
	)
	for _, tt := range []struct {
		end  string
		want syscall.Signal
		text string
	}{
		{"poweroff", syscall.SIGINT, left + "stage=stopped"},
		{"kexec", syscall.SIGHUP, left + "asking the kernel to kexec: "}, // reboots, because none is loaded
		{"halt", syscall.SIGINT, quiet + "stage=stopped"},
		{"forced", syscall.SIGINT, "(?s)stopping takes longer than 1ms: forced.*stage=stopped"},
		{"forced", syscall.SIGINT, quiet + "stage=stopped"},
		{"hangs", syscall.SIGINT, fed + "the watchdog does not answer.*the disks are not done.*stage=stopped"},
		{"panic", syscall.SIGHUP, fed + `error="a bug" next="reboot in 1s".*` + fed + "sync\n.*stage=stopped"},
	} {
		cmd := nstest.Command(t, syscall.CLONE_NEWPID|syscall.CLONE_NEWNS)
		cmd.Env = append(cmd.Env, "END="+tt.end)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != tt.want || !regexp.MustCompile(tt.text).Match(out) {
			t.Errorf("%s: %v, want %v and %q\n%s", tt.end, err, tt.want, tt.text, out)
		}
	}
}

// actAsChild is one of our own programs that does not do what it should.
func actAsChild(how string) {
	switch how {
	case "answers":
		fmt.Print("an answer")
	case "fails":
		fmt.Fprintln(os.Stderr, "<3>ember fails: of course\nmore")
		os.Exit(1)
	case "fails-silently":
		os.Exit(3)
	case "crashes":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "hangs":
		time.Sleep(time.Hour)
	case "units":
		for _, name := range []string{"failure1", "failure2"} {
			if os.Remove(name) == nil {
				os.Exit(1)
			}
		}
		unit.Encode(os.Stdout, []unit.Unit{{Name: unit.BaseTarget}, {Name: "multi-user.target", Wants: []string{"new.target"}}, {Name: "new.target"}})
	}
	os.Exit(0)
}
