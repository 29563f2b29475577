package attest

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/stage"
)

const capTries = 5 // of extending a PCR

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

func (m *machine) trustOverlay(ctx context.Context) {
	if m.state.Overlay != 0 {
		m.warn("the overlay's certificate authorities are not trusted", m.trust(ctx))
	}
}

// finish caps the TPM, without which nothing of the overlay may start, has end remove the keys from it, and tells
// init.
func (m *machine) finish(ctx context.Context, end func()) error {
	if err := m.close(ctx); err != nil {
		return m.giveUp(err)
	}
	if ctx.Err() != nil {
		return nil
	}
	end()
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
	version := "none"
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
