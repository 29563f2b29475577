package attest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/download"
	"github.com/ember-os/ember/os/logline"
)

// Steps is the program step by step, for package os/boot, which has the order, the limits and what to do about an
// error. One after the other they give what the program gives; whatever of them has no server to ask, or no TPM to
// do it with, does nothing.
type Steps struct {
	machine
	program *program
	unlock  func() error
	session session // nil without a TPM
	result  *client.Result
	overlay overlay // unpacked, not in the root yet
}

// copyFile is where the ciphertext of an overlay stays until it is known whether it was good.
const copyFile = "/var/lib/ember/overlay.sealed"

// NewSteps begins, or goes on where a program before this one has ended: see State. The server gets reports of the boot
// until ctx ends.
func NewSteps(ctx context.Context, c cmdline.Config) (*Steps, error) {
	if err := errors.Join(os.MkdirAll(Run, 0o755), os.MkdirAll(filepath.Dir(copyFile), 0o700)); err != nil {
		return nil, fmt.Errorf("making the directory of the attestation: %w", err)
	}
	unlock, err := lock(Run)
	if err != nil {
		return nil, err
	}
	p := newProgram(c)
	p.copy = copyFile
	s := &Steps{machine: p.machine(), program: p, unlock: unlock}
	s.report = func(_ context.Context, r *client.Result) (*reports, error) { return p.report(ctx, r) }
	before, err := ReadState(s.dir)
	if err != nil {
		return nil, errors.Join(err, unlock())
	}
	if before.Phase != "" {
		s.state = before
	}
	return s, nil
}

// State is how far the machine is.
func (s *Steps) State() State { return s.state }

// Network waits for the network.
func (s *Steps) Network(ctx context.Context) error {
	err := s.network(ctx)
	if err == nil && ctx.Err() != nil {
		err = errors.New("there is no network")
	}
	return err
}

// TPM has the TPM ready, and tells whether there is one.
func (s *Steps) TPM() (bool, error) {
	if s.session != nil {
		return true, nil
	}
	session, err := s.tpm()
	if _, none := errors.AsType[noTPM](err); none {
		s.state.Tier, s.state.Why = protocol.None, err.Error()
		return false, nil
	}
	if err == nil {
		s.session = session
		s.name(session)
	}
	return err == nil, err
}

// Attest asks the server, again and again while there is no answer, until ctx ends. The error then is that of the
// last time. From is where the system came from, for protocol.Claims.
func (s *Steps) Attest(ctx context.Context, from string) error {
	s.program.from = from
	s.state.Phase = Trying
	if s.program.params.URL == "" {
		s.state.Tier, s.state.Why = protocol.None, cmdline.AttestURLParam+" is not given"
		return s.state.write(s.dir)
	}
	if has, err := s.TPM(); err != nil || !has {
		return errors.Join(err, s.state.write(s.dir))
	}
	return s.insist(ctx, func() (err error) {
		s.result, err = s.ask(ctx, s.session)
		return err
	})
}

// insist does try again while nobody answers, until ctx ends.
func (s *Steps) insist(ctx context.Context, try func() error) error {
	for p := (pauses{}); ; {
		err := try()
		if err == nil || !Unanswered(err) {
			return err
		}
		s.note(err)
		s.sleep(ctx, p.after(err))
		if ctx.Err() != nil {
			return err
		}
	}
}

// note tells people why there is no answer.
func (s *Steps) note(err error) {
	s.state.Why = logline.Visible(err.Error())
	s.said.Tell(s.log, slog.LevelWarn, s.state.Why)
	s.warn("others do not know of it", s.state.write(s.dir))
}

// Fetch gets the overlay, if the server has one for this machine, as Attest does. One that is older than least is
// refused.
func (s *Steps) Fetch(ctx context.Context, least Least) error {
	s.program.least = least
	if s.result == nil || s.result.Grant.Overlay == nil {
		return nil
	}
	return s.insist(ctx, func() (err error) {
		s.overlay, err = s.stage(ctx, s.result)
		return err
	})
}

// Open takes an overlay that was kept when the server let the machine in, by that name and at that time. It is read
// before Open returns.
func (s *Steps) Open(kept Sealed, node string, at time.Time) (err error) {
	s.state.Tier, s.state.Node = protocol.None, node
	s.overlay, err = s.program.stageKept(kept, node, at)
	return err
}

// Keys are those of who may sign overlays.
func (s *Steps) Keys() ([]manifest.Key, error) {
	a, err := readAnchors(s.program.anchors, s.program.params, s.program.system)
	return a.keys, err
}

// Others is a client for servers that anybody may use.
func (s *Steps) Others() *http.Client { return s.program.others() }

// Apply puts the overlay into the root. After that nothing attests any more as this boot. After an error the machine
// has to reboot.
func (s *Steps) Apply(ctx context.Context) error {
	why := s.state.Why
	if err := s.commit(s.overlay); err != nil {
		return err
	}
	s.overlay = nil
	s.trustOverlay(ctx)
	if s.result == nil {
		s.state.Why = why
	}
	return s.Cap(ctx)
}

// Cap is the end of Apply, for when a program before this one has got so far.
func (s *Steps) Cap(ctx context.Context) error {
	why := s.state.Why
	err := s.close(ctx)
	if errors.Is(err, tpm.ErrNone) || errors.Is(err, tpm.ErrVersion12) {
		err = s.enter(NoTPM)
	}
	s.state.Why = why
	return errors.Join(err, ctx.Err(), s.state.write(s.dir), s.closeSession())
}

// Ready has init start the workload.
func (s *Steps) Ready() error { return s.tell() }

// Sealed is the overlay that is in the root, nil if there is none or it can not be had any more. Its ciphertext is
// there until Forget or Close.
func (s *Steps) Sealed() *Sealed { return s.program.sealed }

// Forget removes what Sealed is read from.
func (s *Steps) Forget() error {
	s.program.sealed = nil
	return os.RemoveAll(s.program.copy)
}

// Probe asks whether the server is there.
func (s *Steps) Probe(ctx context.Context) error {
	c, _, err := s.program.config()
	if err != nil {
		return err
	}
	h := c.Client(nil)
	defer h.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodHead, s.program.params.URL, nil)
	if err != nil {
		return err
	}
	resp, err := download.Do(h, r)
	if err != nil {
		return fmt.Errorf("asking %s: %w", r.URL.Host, err)
	}
	resp.Body.Close()
	if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
		return fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	return nil
}

// Close ends the reports, and removes the TPM's keys and what is left of an overlay.
func (s *Steps) Close() error {
	s.reports.stop()
	errs := []error{s.closeSession()}
	if s.overlay != nil {
		errs = append(errs, s.overlay.Close())
	}
	return errors.Join(append(errs, s.Forget(), s.unlock())...)
}

func (s *Steps) closeSession() (err error) {
	if s.session != nil {
		err = s.session.Close()
		s.session = nil
	}
	return err
}

// Unanswered tells whether an error is that nobody has answered, or nobody who counts.
func Unanswered(err error) bool {
	_, gone := errors.AsType[*client.Unreachable](err)
	_, untrusted := errors.AsType[*client.Untrusted](err)
	return gone || untrusted || errors.As(err, new(download.Unanswered))
}

// Refused tells whether an error is that the right server says no.
func Refused(err error) bool {
	_, ok := errors.AsType[*client.Refused](err)
	return ok
}
