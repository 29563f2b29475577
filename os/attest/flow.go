package attest

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
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
	said    teller
	reports *reports // of the last attestation; nil for none
}

// noTPM says that there is none that can attest.
type noTPM struct{ error }

// unfit says that something of the machine has to be changed before it can attest.
type unfit struct{ error }

// pauses before another try.
const (
	firstPause, lastPause     = time.Second, time.Minute
	firstRefusal, lastRefusal = time.Minute, 5 * time.Minute

	capTries = 5 // of extending a PCR
	none     = "none"
)

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
		return m.finish(ctx)
	}
	m.state.Phase = Trying
	s, err := m.open(ctx)
	if _, none := errors.AsType[noTPM](err); none {
		return m.withoutTPM(err)
	}
	if err != nil {
		return nil // ctx has ended
	}
	defer s.Close()
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
	return m.finish(ctx)
}

func (m *machine) trustOverlay(ctx context.Context) {
	if m.state.Overlay != 0 {
		m.warn("the overlay's certificate authorities are not trusted", m.trust(ctx))
	}
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

// commit puts the overlay into the root. An error in another phase than Trying leaves the root as it should not
// be.
func (m *machine) commit(o overlay) error {
	if o == nil {
		return m.enter(Applied)
	}
	defer func() { m.warn("some of the memory is not free again", o.Close()) }()
	if err := m.enter(Committing); err != nil {
		return err
	}
	if err := o.Commit(); errors.Is(err, extract.ErrUnchanged) {
		return errors.Join(unfit{err}, m.enter(Trying))
	} else if err != nil {
		return err
	}
	m.state.Overlay = o.Version()
	return m.enter(Applied)
}

// finish caps the TPM, without which nothing of the overlay may start, and tells init.
func (m *machine) finish(ctx context.Context) error {
	if err := m.close(ctx); err != nil {
		return m.giveUp(err)
	}
	if ctx.Err() != nil {
		return nil
	}
	return m.tell()
}

// close caps the TPM. ctx may end before it is done.
func (m *machine) close(ctx context.Context) error {
	m.reports.proved()
	for n := 1; ; n++ {
		err := m.capTPM()
		if err == nil {
			return m.enter(Capped)
		}
		if n == capTries || errors.Is(err, tpm.ErrNone) || errors.Is(err, tpm.ErrVersion12) {
			return fmt.Errorf("the TPM can not be kept from attesting once more: %w", err)
		}
		m.sleep(ctx, firstPause)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// tell has init start the workload.
func (m *machine) tell() error {
	fields := []stage.Field{{Key: "tier", Value: string(m.state.Tier)}}
	if m.state.Node != "" {
		fields = append(fields, stage.Field{Key: "node", Value: m.state.Node})
	}
	version := none
	if m.state.Overlay != 0 {
		version = strconv.FormatUint(m.state.Overlay, 10)
	}
	fields = append(fields, stage.Field{Key: "overlay", Value: version})
	if m.state.Why != "" {
		fields = append(fields, stage.Field{Key: "why", Value: m.state.Why})
	}
	return m.notify("READY=1\nSTATUS=" + stage.FormatFields(fields...))
}

func (m *machine) withoutTPM(err error) error {
	m.log.Warn("this machine can not attest and gets no overlay", "err", err)
	m.state.Tier, m.state.Why = protocol.None, err.Error()
	m.warn("others do not know of it", m.enter(NoTPM))
	return m.tell()
}

// giveUp reboots: the root is half of one machine and half of another, or the overlay might be used by what
// can still attest.
func (m *machine) giveUp(err error) error {
	m.log.Error("the overlay is not usable, the machine reboots", "err", err)
	return errors.Join(err, m.reboot())
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
		m.said.tell(m.log, text)
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

// pauses is how long to wait after each of several errors.
type pauses struct{ quick, slow int }

// after is longer with each error, up to a limit, give or take a fifth. A server that refuses is not asked as
// often as one that does not answer, and one that says when, then.
func (p *pauses) after(err error) time.Duration {
	if gone, ok := errors.AsType[*client.Unreachable](err); ok && gone.After > 0 {
		return gone.After
	}
	d, most, n := firstPause, lastPause, &p.quick
	if refused, ok := errors.AsType[*client.Refused](err); ok {
		if refused.After > 0 {
			return refused.After
		}
		d, most, n = firstRefusal, lastRefusal, &p.slow
	}
	if _, ok := errors.AsType[unfit](err); ok {
		d, most, n = lastRefusal, lastRefusal, &p.slow
	}
	d = min(d<<min(*n, 10), most)
	*n++
	return d*4/5 + rand.N(d*2/5)
}

// teller says the same again only at the 2nd, 4th, 8th time and so on.
type teller struct {
	text  string
	times int
}

func (t *teller) tell(log *slog.Logger, text string) {
	if text != t.text {
		*t = teller{text: text}
	}
	t.times++
	switch {
	case t.times == 1:
		log.Warn(text)
	case t.times&(t.times-1) == 0:
		log.Warn(text, "times", t.times)
	}
}
