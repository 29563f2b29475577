package pid1

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/unit"
	"github.com/ember-os/ember/os/watchdog"
)

// testSystem has a file for its only console.
func testSystem(t *testing.T, steps ...step) (s *system, console func() []stage.Line) {
	t.Helper()
	s = newSystem(steps)
	s.delay = time.Second
	s.devices, s.output = t.TempDir(), t.TempDir()
	file := filepath.Join(s.devices, "console")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, func() []stage.Line {
		t.Helper()
		if s.voice.console.Ports() == nil {
			s.openConsoles(nil)
		}
		if err := s.voice.console.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("console:\n%s", text)
		var lines []stage.Line
		for line := range strings.Lines(string(text)) {
			if l, ok := stage.Parse(line); ok {
				lines = append(lines, l)
			}
		}
		return lines
	}
}

func names(lines []stage.Line) []string {
	var names []string
	for _, l := range lines {
		names = append(names, l.Name)
	}
	return names
}

func good(*system, context.Context) ([]stage.Field, error) {
	return []stage.Field{{Key: "how", Value: "well"}}, nil
}

func TestBringUp(t *testing.T) {
	s, console := testSystem(t, step{stage.Devices, good}, step{stage.Mounts, good})
	want := power.Request{Action: power.Halt, Reason: "test"}
	go func() { s.requests <- want }()
	s.bringUp(t.Context())
	if got := s.run(t.Context()); got != want {
		t.Errorf("ended by %v", got)
	}
	lines := console()
	if got := names(lines)[:3]; !slices.Equal(got, []string{stage.Devices, stage.Mounts, stage.Ready}) || lines[0].Get("how") != "well" {
		t.Errorf("stages %q", got)
	}
}

func TestTargets(t *testing.T) {
	for line, want := range map[string]struct {
		now          []string
		first, later string
	}{
		"":                                   {[]string{unit.BaseTarget, "multi-user.target"}, "", ""},
		"ember.workload=none":                {[]string{unit.BaseTarget}, "", ""},
		"docker_registry=r.ex":               {[]string{unit.BaseTarget, "tinkerbell.target"}, "", ""},
		"ember.attest_url=https://a.example": {[]string{unit.BaseTarget, attestUnit}, attestUnit, "multi-user.target"},
		"ember.attest_url=wrong":             {[]string{unit.BaseTarget, attestUnit}, attestUnit, "multi-user.target"},
		"ember.attest_url=https://a.example ember.workload=none": {[]string{unit.BaseTarget, attestUnit}, attestUnit, ""},
		"ember.attest_url=https://a.example ember.lkg=on":        {[]string{unit.BaseTarget, bootUnit}, bootUnit, "multi-user.target"},
		"docker_registry=r.ex ember.lkg=disk":                    {[]string{unit.BaseTarget, bootUnit}, bootUnit, "tinkerbell.target"},
	} {
		config, _ := cmdline.Parse(line)
		if now, first, later := targetsOf(config); !slices.Equal(now, want.now) || first != want.first || later != want.later {
			t.Errorf("%q starts %q, then, after %q, %q", line, now, first, later)
		}
	}
}

func TestHearBoot(t *testing.T) {
	t.Parallel()
	s, console := testSystem(t)
	s.hearBoot(attestUnit, stage.Message, "phase=attest")
	s.hearBoot(attestUnit, power.Message, "nobody asks")
	s.hearBoot(bootUnit, stage.Message, `phase=waiting why="it broke"`)
	s.hearBoot(bootUnit, power.Message, "boot failed: it broke")
	if got, want := <-s.requests, (power.Request{Action: power.Reboot, Reason: "boot failed: it broke"}); got != want {
		t.Errorf("the request is %v, want %v", got, want)
	}
	lines := console()
	if len(lines) != 1 || lines[0].Name != stage.Boot || lines[0].Get("phase") != "waiting" || lines[0].Get("why") != "it broke" {
		t.Errorf("the console shows %v", lines)
	}
}

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
			for _, want := range []string{"panic: a bug\n", "pid1_test.go", "ember: reboot in 1s\n"} {
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

func TestAsk(t *testing.T) {
	s, _ := testSystem(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.spawn(func() { s.reaper.Run(ctx) })
	for how, want := range map[string]string{
		"answers": "", "fails": "ember fails: of course", "fails-silently": "exit status 3", "crashes": "signal SIGKILL",
	} {
		answer, err := s.ask(t.Context(), how)
		if want == "" && (string(answer) != "an answer" || err != nil) || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %q, %v, want %q", how, answer, err, want)
		}
	}
	short, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if _, err := s.ask(short, "hangs"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hangs: %v", err)
	}
	if err := s.reaper.WaitAll(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
}

// TestStartWorkload has units that appear with the attestation.
func TestStartWorkload(t *testing.T) {
	s, _ := testSystem(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.spawn(func() { s.reaper.Run(ctx) })
	for problem, want := range map[string]string{"": "", "no such program": "the attestation has failed"} {
		m := service.New(service.Options{Reaper: s.reaper, Spawn: s.spawn, Log: s.log, Dir: t.TempDir()})
		if err := m.Start([]unit.Unit{{Name: attestUnit, Error: problem}}, attestUnit); err != nil {
			t.Fatal(err)
		}
		err := s.startWorkload(ctx, m, attestUnit, "multi-user.target")
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("the error is %v, want %q", err, want)
		}
		if state, err := m.Wait(t.Context(), "new.target"); (state == service.Active) != (want == "") {
			t.Errorf("the new unit is %v, %v", state, err)
		}
		if err := m.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	m := service.New(service.Options{Reaper: s.reaper, Spawn: s.spawn, Log: s.log, Dir: t.TempDir()})
	if err := s.startWorkload(ctx, m, attestUnit, "multi-user.target"); err == nil {
		t.Error("the workload starts without attestation")
	}
	m.Stop(t.Context())
}

// TestReadUnitsAtLast has a child that fails twice, then a machine that is stopped between two tries.
func TestReadUnitsAtLast(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"failure1", "failure2"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _ := testSystem(t)
	s.pause = time.Millisecond
	var log bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	s.spawn(func() { s.reaper.Run(t.Context()) })
	if units := s.readUnitsAtLast(ctx, []string{"a.target"}); len(units) != 3 {
		t.Errorf("it reads %v", units)
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "exit status 1") {
		t.Errorf("of two failures it says\n%s", log.String())
	}

	s.pause = time.Hour
	s.log = slog.New(slog.NewTextHandler(writer(func() { cancel() }), nil)) // stops the machine when it hears of the failure
	if err := os.WriteFile("failure1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.readUnitsAtLast(ctx, nil)
}

// writer is called for everything that is written.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// TestMain is also a child that does nothing but wait for its end, and the program
// that keeps the reason for it.
func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "child":
		time.Sleep(time.Hour)
	case "ember":
		actAsChild(os.Args[1])
	}
	os.Exit(m.Run())
}

func TestVoice(t *testing.T) {
	s, _ := testSystem(t)
	s.voice.level.Set(slog.LevelWarn)
	s.warn("it goes on", nil, fmt.Errorf("a reason"))
	s.log.Info("nobody needs to see this")
	s.log.Debug("nobody needs to know this")
	s.say("a line for people")
	s.openConsoles(nil)
	s.voice.console.Flush(t.Context())
	text, err := os.ReadFile(filepath.Join(s.devices, "console"))
	if want := "ember: warning: it goes on err=\"a reason\"\nember: a line for people\n"; string(text) != want || err != nil {
		t.Errorf("the console shows %q, %v, want %q", text, err, want)
	}

	dir := t.TempDir()
	if err := s.voice.journal.Open(dir); err != nil {
		t.Fatal(err)
	}
	fifo, err := os.Open(filepath.Join(dir, output.Init))
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	want := "<4>it goes on err=\"a reason\"\n<6>nobody needs to see this\n<6>a line for people\n"
	got := make([]byte, len(want)+1)
	if n, err := fifo.Read(got); string(got[:n]) != want || err != nil {
		t.Errorf("the log has %q, %v, want %q", got[:n], err, want)
	}
}

func TestStatusFields(t *testing.T) {
	for status, want := range map[string][]stage.Field{
		`link=eth0 by="two words"`: {{Key: "link", Value: "eth0"}, {Key: "by", Value: "two words"}},
		"all is well":              {{Key: "status", Value: "all is well"}},
		"":                         nil,
	} {
		if got := statusFields(status); !slices.Equal(got, want) {
			t.Errorf("%q gives %q, want %q", status, got, want)
		}
	}
}

func TestAfterLog(t *testing.T) {
	units := afterLog([]unit.Unit{{Name: "a.service", After: []string{"b.service"}, Service: &unit.Service{}},
		{Name: logService, Service: &unit.Service{}}, {Name: "x.target"}})
	if !slices.Equal(units[0].After, []string{"b.service", logService}) || units[1].After != nil || units[2].After != nil {
		t.Errorf("the order is %+v", units)
	}
}

func TestSteps(t *testing.T) {
	for i, s := range steps {
		if slices.ContainsFunc(steps[:i], func(t step) bool { return t.stage == s.stage }) {
			t.Errorf("stage %s is there twice", s.stage)
		}
	}
}
