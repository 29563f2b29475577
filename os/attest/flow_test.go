package attest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/protocol"
)

// lab is a machine that notes what it does.
type lab struct {
	machine
	did    []string
	output bytes.Buffer
	told   []string // init
	slept  []time.Duration
	cancel context.CancelFunc
	ctx    context.Context

	result    *client.Result
	commitErr error
}

type fakeSession struct{ l *lab }

func (s fakeSession) Request([]byte, []byte, []byte, json.RawMessage) (*protocol.Request, error) {
	return nil, errors.New("not used")
}
func (s fakeSession) Activate(_, _ []byte) ([]byte, error) { return nil, errors.New("not used") }
func (s fakeSession) Signer() crypto.Signer                { return nil }
func (s fakeSession) Node() string                         { return "node7" }
func (s fakeSession) Close() error                         { s.l.do("close"); return nil }

type fakeOverlay struct{ l *lab }

func (o fakeOverlay) Version() uint64 { return 7 }
func (o fakeOverlay) Close() error    { o.l.do("discard"); return nil }
func (o fakeOverlay) Commit() error {
	o.l.do("commit")
	if s, err := ReadState(o.l.dir); err != nil || s.Phase != Committing {
		o.l.do("but not in " + string(s.Phase))
	}
	return o.l.commitErr
}

func (l *lab) do(what string) { l.did = append(l.did, what) }

// newLab has a machine with which all goes well.
func newLab(t *testing.T) *lab {
	l := &lab{result: &client.Result{
		Grant: &protocol.Grant{Node: "node7", Tier: protocol.Attested, Time: time.Unix(1800000000, 0).UTC(),
			Certificates: [][]byte{[]byte("der")}, Overlay: &protocol.Overlay{}},
		Certificate: tls.Certificate{Leaf: &x509.Certificate{NotAfter: time.Unix(1800000900, 0).UTC()}},
	}}
	l.ctx, l.cancel = context.WithCancel(t.Context())
	t.Cleanup(l.cancel)
	l.machine = machine{
		log:     slog.New(slog.NewTextHandler(&l.output, nil)),
		dir:     t.TempDir(),
		tpm:     func() (session, error) { l.do("tpm"); return fakeSession{l}, nil },
		network: func(context.Context) error { l.do("network"); return nil },
		attest: func(context.Context, session) (*client.Result, error) {
			l.do("attest")
			return l.result, nil
		},
		setClock: func(at time.Time) error { l.do("clock " + at.Format(time.RFC3339)); return nil },
		stage:    func(context.Context, *client.Result) (overlay, error) { l.do("stage"); return fakeOverlay{l}, nil },
		report:   func(context.Context, *client.Result) (*reports, error) { return nil, nil },
		trust:    func(context.Context) error { l.do("trust"); return nil },
		capTPM:   func() error { l.do("cap"); return nil },
		reboot:   func() error { l.do("reboot"); return nil },
		notify: func(s string) error {
			l.told = append(l.told, s)
			if strings.HasPrefix(s, "READY=1\n") {
				l.do("ready")
			}
			return nil
		},
		sleep: func(_ context.Context, d time.Duration) {
			if l.slept = append(l.slept, d); len(l.slept) == 20 {
				l.cancel()
			}
		},
	}
	return l
}

// runs runs the machine, which must do exactly that.
func (l *lab) runs(t *testing.T, want string) error {
	t.Helper()
	err := l.run(l.ctx)
	if got := strings.Join(l.did, ", "); got != want {
		t.Errorf("it did %s; want %s", got, want)
	}
	t.Logf("%v\n%s%q", err, &l.output, l.told)
	return err
}

func (l *lab) phase(t *testing.T) Phase {
	t.Helper()
	s, err := ReadState(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	return s.Phase
}

const good = "tpm, network, attest, stage, commit, discard, trust, cap, close, ready"

func TestFlow(t *testing.T) {
	l := newLab(t)
	if err := l.runs(t, good); err != nil {
		t.Fatal(err)
	}
	if want := "the TPM has the keys of this boot\" node=node7\n"; !strings.Contains(l.output.String(), want) {
		t.Errorf("the log has no %q: %s", want, &l.output)
	}
	want := State{Phase: Capped, Node: "node7", Tier: protocol.Attested, Overlay: 7, Time: l.result.Grant.Time, Expires: l.result.Certificate.Leaf.NotAfter}
	if s, err := ReadState(l.dir); err != nil || s != want {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	if got := l.told[len(l.told)-1]; got != "READY=1\nSTATUS=tier=attested node=node7 overlay=7" {
		t.Errorf("init is told %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(l.dir, CertificateFile)); err != nil || !strings.HasPrefix(string(text), "-----BEGIN CERTIFICATE-----\n") {
		t.Errorf("the certificate is %q, %v", text, err)
	}
}

func TestNoOverlay(t *testing.T) {
	l := newLab(t)
	l.result.Grant.Overlay, l.result.Doubtful = nil, true
	if err := l.runs(t, "tpm, network, attest, clock 2027-01-15T08:00:00Z, cap, close, ready"); err != nil {
		t.Fatal(err)
	}
	if got := l.told[len(l.told)-1]; !strings.HasSuffix(got, "overlay=none") {
		t.Errorf("init is told %q", got)
	}
}

func TestNoTPM(t *testing.T) {
	l := newLab(t)
	l.tpm = func() (session, error) { return nil, noTPM{errors.New("there is no TPM")} }
	if err := l.runs(t, "ready"); err != nil {
		t.Fatal(err)
	}
	if got := l.told[0]; got != "READY=1\nSTATUS=tier=none overlay=none why=\"there is no TPM\"" {
		t.Errorf("init is told %q", got)
	}
	if l.phase(t) != NoTPM || strings.Count(l.output.String(), "\n") != 1 {
		t.Errorf("%v, %s", l.phase(t), &l.output)
	}
}

// TestAgain has what fails at first.
func TestAgain(t *testing.T) {
	failing := errors.New("it fails")
	for name, c := range map[string]struct {
		change func(l *lab, fail func() error)
		did    string
	}{
		"TPM": {func(l *lab, fail func() error) {
			tpm := l.tpm
			l.tpm = func() (session, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return tpm()
			}
		}, good},
		"server": {func(l *lab, fail func() error) {
			attest := l.machine.attest
			l.machine.attest = func(ctx context.Context, s session) (*client.Result, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return attest(ctx, s)
			}
		}, good},
		"overlay": {func(l *lab, fail func() error) {
			stage := l.machine.stage
			l.machine.stage = func(ctx context.Context, r *client.Result) (overlay, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return stage(ctx, r)
			}
		}, "tpm, network" + strings.Repeat(", attest", 5) + ", stage, commit, discard, trust, cap, close, ready"},
		"cap": {func(l *lab, fail func() error) {
			cap := l.capTPM
			l.capTPM = func() error {
				if err := fail(); err != nil {
					return err
				}
				return cap()
			}
		}, good},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			n := 0
			c.change(l, func() error {
				if n++; n < 5 {
					if p := l.phase(t); p == Capped || slices.Contains(l.did, "ready") {
						t.Errorf("init is told too early, in %v", p)
					}
					return failing
				}
				return nil
			})
			if err := l.runs(t, c.did); err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(l.output.String(), "level=WARN"); name != "cap" && got != 3 {
				t.Errorf("it says %d things, where 1st, 2nd and 4th time are to be told", got)
			}
		})
	}
}

func TestReboot(t *testing.T) {
	broken := errors.New("no space left on device")
	t.Run("commit fails", func(t *testing.T) {
		l := newLab(t)
		l.commitErr = broken
		if err := l.runs(t, "tpm, network, attest, stage, commit, discard, reboot, close"); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
	t.Run("commit does not begin", func(t *testing.T) {
		l := newLab(t)
		l.commitErr = fmt.Errorf("no room: %w", extract.ErrUnchanged)
		l.machine.sleep = func(_ context.Context, d time.Duration) {
			if l.phase(t) != Trying || d < 2*time.Minute {
				t.Errorf("it waits %v in %v", d, l.phase(t))
			}
			l.commitErr = nil
		}
		const again = ", attest, stage, commit, discard"
		if err := l.runs(t, "tpm, network"+again+again+", trust, cap, close, ready"); err != nil {
			t.Error(err)
		}
	})
	t.Run("ended in commit", func(t *testing.T) {
		l := newLab(t)
		if err := (State{Phase: Committing}).write(l.dir); err != nil {
			t.Fatal(err)
		}
		if err := l.runs(t, "reboot"); err == nil {
			t.Error("no error")
		}
	})
	t.Run("cap fails for good", func(t *testing.T) {
		l := newLab(t)
		l.capTPM = func() error { return broken }
		if err := l.runs(t, "tpm, network, attest, stage, commit, discard, trust, reboot, close"); !errors.Is(err, broken) {
			t.Error(err)
		}
		if l.phase(t) != Applied {
			t.Errorf("the phase is %v", l.phase(t))
		}
	})
}

// TestRestart has a machine whose program ended after the overlay was applied.
func TestRestart(t *testing.T) {
	for _, p := range []Phase{Applied, Capped} {
		l := newLab(t)
		if err := (State{Phase: p, Tier: protocol.Enrolled, Node: "node7", Overlay: 3}).write(l.dir); err != nil {
			t.Fatal(err)
		}
		if err := l.runs(t, "cap, ready"); err != nil {
			t.Error(err)
		}
		if got := l.told[0]; got != "READY=1\nSTATUS=tier=enrolled node=node7 overlay=3" {
			t.Errorf("init is told %q", got)
		}
	}
	l := newLab(t)
	if err := os.WriteFile(filepath.Join(l.dir, StateFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.runs(t, ""); err == nil {
		t.Error("it does not mind a state that it can not read")
	}
}

func TestStops(t *testing.T) {
	l := newLab(t)
	l.attest = func(context.Context, session) (*client.Result, error) { return nil, errors.New("never") }
	if err := l.runs(t, "tpm, network, close"); err != nil {
		t.Error(err)
	}
	if s, err := ReadState(l.dir); err != nil || s.Phase != Trying || s.Why != "never" {
		t.Errorf("%+v, %v", s, err)
	}
	if last := l.told[len(l.told)-1]; last != "STATUS=why=never" {
		t.Errorf("init is told %q", last)
	}
}

func TestPauses(t *testing.T) {
	within := func(d, want time.Duration) bool { return d >= want*4/5 && d <= want*6/5 }
	var p pauses
	gone, refused := &client.Unreachable{Err: errors.New("x")}, &client.Refused{Status: 403}
	for _, c := range []struct {
		err  error
		want time.Duration
	}{
		{gone, time.Second}, {gone, 2 * time.Second}, {refused, time.Minute}, {errors.New("x"), 4 * time.Second}, {refused, 2 * time.Minute},
		{refused, 4 * time.Minute}, {refused, 5 * time.Minute}, {unfit{errors.New("x")}, 5 * time.Minute},
	} {
		if d := p.after(c.err); !within(d, c.want) {
			t.Errorf("%v after %v", d, c.err)
		}
	}
	for range 100 {
		p.after(gone)
	}
	if d := p.after(gone); !within(d, time.Minute) {
		t.Errorf("in the end %v", d)
	}
	gone.After = 7 * time.Second
	if d := p.after(gone); d != gone.After {
		t.Errorf("%v after a server that says 7s", d)
	}
	if refused.After = 9 * time.Second; p.after(refused) != refused.After {
		t.Error("a server that refuses and says when is not obeyed")
	}
}
