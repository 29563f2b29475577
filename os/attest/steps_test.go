package attest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/cmdline"
)

// newLabSteps are steps on a machine with which all goes well.
func newLabSteps(t *testing.T) (*lab, *Steps) {
	l := newLab(t)
	p := &program{params: cmdline.Attest{URL: "https://a.example"}, copy: filepath.Join(t.TempDir(), "copy"), log: slog.New(slog.DiscardHandler)}
	return l, &Steps{machine: l.machine, program: p, unlock: func() error { l.do("unlock"); return nil }}
}

func (l *lab) hasDone(t *testing.T, want string) {
	t.Helper()
	if got := strings.Join(l.did, ", "); got != want {
		t.Errorf("it did %s; want %s", got, want)
	}
}

func TestSteps(t *testing.T) {
	l, s := newLabSteps(t)
	if err := errors.Join(s.Network(t.Context()), s.Attest(t.Context(), "network"), s.Fetch(t.Context(), Least{})); err != nil {
		t.Fatal(err)
	}
	l.hasDone(t, "network, tpm, attest, stage")
	if p := s.State().Phase; p != Trying {
		t.Errorf("the phase is %v", p)
	}
	if err := errors.Join(s.Apply(t.Context()), s.Ready(), s.Close()); err != nil {
		t.Fatal(err)
	}
	l.hasDone(t, "network, tpm, attest, stage, commit, discard, trust, cap, close, ready, unlock")
	if got := s.State(); got.Phase != Capped || got.Overlay != 7 || got.Why != "" {
		t.Errorf("%+v", got)
	}
	if got := l.told[len(l.told)-1]; got != "READY=1\nSTATUS=tier=attested node=node7 overlay=7" {
		t.Errorf("init is told %q", got)
	}
}

func TestStepsWithoutServer(t *testing.T) {
	gone := &client.Unreachable{Err: errors.New("gone")}
	l, s := newLabSteps(t)
	s.attest = func(context.Context, session) (*client.Result, error) { l.do("attest"); return nil, gone }
	err := s.Attest(l.ctx, "network") // until it has slept for 20 times
	if told := strings.Count(l.output.String(), "gone"); !errors.Is(err, gone) || !Unanswered(err) || Refused(err) || told != 5 || s.State().Why == "" {
		t.Errorf("%v, told %d times, %+v", err, told, s.State())
	}
}

func TestStepsRefused(t *testing.T) {
	for _, err := range []error{&client.Refused{Code: "no"}, errors.New("the TPM is broken"), unfit{errors.New("no pin")}} {
		l, s := newLabSteps(t)
		s.attest = func(context.Context, session) (*client.Result, error) { return nil, err }
		if got := s.Attest(l.ctx, "network"); got != err || len(l.slept) > 0 {
			t.Errorf("%v is %v, after %d pauses", err, got, len(l.slept))
		}
		s.stage = func(context.Context, *client.Result) (overlay, error) { return nil, err }
		s.result = l.result
		if got := s.Fetch(l.ctx, Least{}); got != err || len(l.slept) > 0 {
			t.Errorf("%v is %v, after %d pauses", err, got, len(l.slept))
		}
	}
}

func TestStepsWithoutTPM(t *testing.T) {
	l, s := newLabSteps(t)
	s.tpm = func() (session, error) { return nil, noTPM{tpm.ErrNone} }
	s.capTPM = func() error { return tpm.ErrNone }
	if err := errors.Join(s.Attest(t.Context(), "network"), s.Fetch(t.Context(), Least{}), s.Apply(t.Context()), s.Ready(), s.Close()); err != nil {
		t.Fatal(err)
	}
	l.hasDone(t, "ready, unlock")
	if got := l.told[0]; !strings.HasPrefix(got, "READY=1\nSTATUS=tier=none overlay=none why=") {
		t.Errorf("init is told %q", got)
	}
	if l.phase(t) != NoTPM {
		t.Errorf("the phase is %v", l.phase(t))
	}
}

func TestStepsNobodyToAsk(t *testing.T) {
	l, s := newLabSteps(t)
	s.program.params.URL = ""
	if err := errors.Join(s.Attest(t.Context(), "network"), s.Fetch(t.Context(), Least{}), s.Apply(t.Context()), s.Ready()); err != nil {
		t.Fatal(err)
	}
	l.hasDone(t, "cap, ready")
}

// TestStepsKept takes an overlay that was kept.
func TestStepsKept(t *testing.T) {
	sealed := newOverlay(t)
	l, s := newLabSteps(t)
	s.program.params.OverlayKeys, s.program.anchors = []string{sealed.key()}, t.TempDir()
	s.program.params.Pins = []string{strings.Repeat("a", 64)}
	s.program.staging, s.program.root = filepath.Join(t.TempDir(), "staging"), t.TempDir()
	if keys, err := s.Keys(); len(keys) != 1 || err != nil {
		t.Fatalf("%v, %v", keys, err)
	}
	s.state.Why = "nobody answers"
	kept := sealed.manifest.Created
	sealed.manifest.Expires = kept.Add(time.Second) // which is over
	open := func(at time.Time) error {
		return s.Open(Sealed{Manifest: sealed.sign(t), FileKey: sealed.fileKey, Ciphertext: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(sealed.ciphertext)), nil
		}}, "node7", at)
	}
	if err := open(sealed.manifest.Expires); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("it had expired when it was kept: %v", err)
	}
	err := open(kept)
	if err := errors.Join(err, s.Apply(t.Context()), s.Ready()); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(s.program.root, "etc/motd")); err != nil || string(text) != "hello" {
		t.Errorf("motd is %q, %v", text, err)
	}
	if got := l.told[0]; got != "READY=1\nSTATUS=tier=none node=node7 overlay=7 why=\"nobody answers\"" {
		t.Errorf("init is told %q", got)
	}
	if s.Sealed() != nil {
		t.Error("it would be kept again")
	}
	if _, err := os.Stat(s.program.copy); !os.IsNotExist(err) {
		t.Errorf("there is a copy: %v", err)
	}
}

func TestProbe(t *testing.T) {
	for status, is := range map[int]bool{200: true, 403: true, 404: true, 429: false, 500: false, 503: false} {
		web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		_, s := newLabSteps(t)
		s.program.anchors = t.TempDir()
		s.program.params = cmdline.Attest{URL: web.URL + "/sub", Pins: []string{client.PinOf(web.Certificate()).String()}}
		if err := s.Probe(t.Context()); (err == nil) != is {
			t.Errorf("%d: %v", status, err)
		}
		s.program.params.Pins = []string{strings.Repeat("a", 64)}
		if err := s.Probe(t.Context()); err == nil {
			t.Errorf("%d: somebody else is there", status)
		}
		web.Close()
	}
}
