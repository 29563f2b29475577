package pid1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/power"
	"github.com/ember-os/ember/os/stage"
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

func TestSteps(t *testing.T) {
	for i, s := range steps {
		if slices.ContainsFunc(steps[:i], func(t step) bool { return t.stage == s.stage }) {
			t.Errorf("stage %s is there twice", s.stage)
		}
	}
}
