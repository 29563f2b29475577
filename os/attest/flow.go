package attest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/stage"
	"github.com/google/renameio/v2"
)

// session is the machine's TPM with the keys of this process.
type session interface {
	client.TPM
	Close() error
}

// overlay is one that has been verified and unpacked, but is not in the root yet.
type overlay interface {
	Version() uint64
	// Commit's error leaves the root half written, unless it is an extract.ErrUnchanged.
	Commit() error
	Close() error // removes what was not committed
}

// machine is the flow; its functions are what it is made of.
type machine struct {
	log *slog.Logger
	dir string // Run
	// tpm makes a session. noTPM is an error that stays.
	tpm      func() (session, error)
	network  func(context.Context) error // waits for it
	attest   func(context.Context, session) (*client.Result, error)
	setClock func(time.Time) error
	stage    func(context.Context, *client.Result) (overlay, error)
	report   func(context.Context, *client.Result) (*reports, error) // begins reports
	trust    func(context.Context) error                             // has the overlay's authorities trusted
	capTPM   func() error
	reboot   func() error
	notify   func(string) error
	sleep    func(context.Context, time.Duration)

	state   State
	said    logline.Teller
	reports *reports // of the last attestation; nil for none
}

// noTPM says that there is none that can attest.
type noTPM struct{ error }

// unfit says that something of the machine has to be changed before it can attest.
type unfit struct{ error }

// run returns nil when the workload may start, or when ctx ends.
func (m *machine) run(ctx context.Context) error {
	before, err := ReadState(m.dir)
	if err != nil {
		return err
	}
	switch before.Phase {
	case Committing:
		return m.giveUp(errors.New("this program ended while it wrote the overlay to the root"))
	case Applied, Capped:
		m.state = before
		return m.finish(ctx, func() {})
	}
	m.state.Phase = Trying
	s, err := m.open(ctx)
	if _, none := errors.AsType[noTPM](err); none {
		return m.withoutTPM(err)
	}
	if err != nil {
		return nil // ctx has ended
	}
	end := sync.OnceFunc(func() { m.warn("the TPM may still have the keys of this boot", s.Close()) })
	defer end()
	if err := m.network(ctx); err != nil {
		return err
	}
	var half error
	m.repeat(ctx, func() error {
		o, err := m.try(ctx, s)
		if err == nil {
			err = m.commit(o)
		}
		if m.state.Phase != Trying {
			half, err = err, nil
		}
		return err
	})
	if half != nil {
		return m.giveUp(half)
	}
	if m.state.Phase == Trying { // ctx has ended
		return nil
	}
	m.trustOverlay(ctx)
	return m.finish(ctx, end)
}

// open makes the session, with as many tries as it takes. The error is of type noTPM, or that of ctx.
func (m *machine) open(ctx context.Context) (s session, err error) {
	m.repeat(ctx, func() error {
		s, err = m.tpm()
		if _, none := errors.AsType[noTPM](err); none {
			return nil
		}
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		m.name(s)
	}
	return s, err
}

// name tells who this machine is, which an operator compares with the server's queue before letting it in.
func (m *machine) name(s session) {
	m.state.Node = s.Node()
	m.log.Info("the TPM has the keys of this boot", "node", m.state.Node)
}

// try asks the server and unpacks what it gives. The overlay is nil if it gives none.
func (m *machine) try(ctx context.Context, s session) (overlay, error) {
	result, err := m.ask(ctx, s)
	if err != nil || result.Grant.Overlay == nil {
		return nil, err
	}
	return m.stage(ctx, result)
}

// ask asks the server.
func (m *machine) ask(ctx context.Context, s session) (*client.Result, error) {
	result, err := m.attest(ctx, s)
	if err != nil {
		return nil, err
	}
	g := result.Grant
	if result.Doubtful {
		m.warn("the clock stays wrong", m.setClock(g.Time))
	}
	m.state.Node, m.state.Tier, m.state.Time, m.state.Expires = g.Node, g.Tier, g.Time, result.Certificate.Leaf.NotAfter
	if err := m.keep(g.Certificates); err != nil {
		return nil, err
	}
	m.reports.stop()
	m.reports, err = m.report(ctx, result)
	m.warn("the server gets no reports of this boot", err)
	return result, nil
}

// keep writes the certificate for people to look at.
func (m *machine) keep(ders [][]byte) error {
	var text []byte
	for _, der := range ders {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	if err := renameio.WriteFile(filepath.Join(m.dir, CertificateFile), text, 0o644); err != nil {
		return fmt.Errorf("keeping the machine's certificate: %w", err)
	}
	return nil
}

func (m *machine) enter(p Phase) error {
	m.state.Phase = p
	if p != NoTPM {
		m.state.Why = ""
	}
	return m.state.write(m.dir)
}

// repeat does try until it works or ctx ends, and says why it does not.
func (m *machine) repeat(ctx context.Context, try func() error) {
	p := pauses{}
	for {
		err := try()
		if err == nil || ctx.Err() != nil {
			return
		}
		text := logline.Visible(err.Error())
		m.state.Why = text
		m.warn("others do not know of it", m.state.write(m.dir))
		m.warn("init does not know of it", m.notify("STATUS="+stage.FormatFields(stage.Field{Key: "why", Value: text})))
		m.said.Tell(m.log, slog.LevelWarn, text)
		m.sleep(ctx, p.after(err))
		if ctx.Err() != nil {
			return
		}
	}
}

func (m *machine) warn(consequence string, err error) {
	if err != nil {
		m.log.Warn(consequence, "err", err)
	}
}
