package boot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/kept"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/measured"
)

// commit keeps what has made this machine a healthy node. Where it can not, it counts the success all the same.
func (n *node) commit(ctx context.Context) error {
	defer func() { n.warn("some of the memory is not free again", n.steps.Forget()) }()
	d, err := n.find(ctx)
	if err != nil {
		return err
	}
	defer n.close(d)
	c := slot.Candidate{Success: time.Now()}
	if c.Resets, c.TPM, err = n.resetCount(); err != nil {
		return err
	}
	good := state.None
	err = n.withTPM(func(t transport.TPM) (err error) {
		good, err = n.keep(ctx, d, &c, t)
		return err
	})
	if noTPM(err) {
		err = program.ErrUnmeasured
	}
	if good == state.None { // nothing was kept, and what was before is as it was
		if ctx.Err() == nil {
			err = errors.Join(err, d.Success(ctx, c))
		}
		return err
	}
	if failed := n.entries(d, good); !errors.Is(failed, efiboot.ErrNoVariables) {
		err = errors.Join(err, failed)
	}
	return err
}

// keep fills the candidate and commits it.
func (n *node) keep(ctx context.Context, d *disk, c *slot.Candidate, t transport.TPM) (good state.Slot, err error) {
	b, err := n.measured(t)
	if err != nil {
		return state.None, err
	}
	p, err := n.program(ctx, d, b)
	if err != nil {
		return state.None, err
	}
	defer p.Close()
	c.Content.System, c.System = p.Image, p.Open
	raise, err := n.addConfig(ctx, d, c, t, b)
	if err != nil {
		return state.None, err
	}
	res, err := d.Commit(ctx, *c)
	if err != nil {
		return state.None, err
	}
	n.warn("last-known-good", res.Warning)
	n.log.Info("last-known-good is kept", "slot", res.Good, "written", res.Written, "overlay", c.Overlay)
	if raise {
		_, err = vault.Raise(t)
	}
	return res.Good, err
}

// program gets the program that was booted: from a slot, if it is there, else from where the boot server has it. After
// kexec what was measured is the system before this one, which was not healthy: only a slot can show that it is the
// same.
func (n *node) program(ctx context.Context, d *disk, b measured.Boot) (*program.Program, error) {
	if _, is := b.Program(); !is {
		return nil, program.ErrUnmeasured
	}
	for _, s := range []state.Slot{n.slot, d.Record().Good} {
		if s == state.None {
			continue
		}
		p, err := readProgram(ctx, d, s, b)
		if err == nil {
			return p, nil
		}
		n.log.Debug("what was booted is not in the slot", "slot", s, "err", err)
	}
	if n.config.LKG.Mode == cmdline.LKGDisk {
		return nil, errors.New("what runs was started by kexec, and the system before it, which was measured, is another one; what was kept stays so")
	}
	if n.config.LKG.URL == "" {
		return nil, fmt.Errorf("%s does not say where the program is that this machine was booted with", cmdline.LKGURLParam)
	}
	client := n.steps.Others()
	defer client.CloseIdleConnections()
	from, err := program.Fetch(ctx, client, n.config.LKG.URL)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return program.Read(ctx, from, b)
}

func readProgram(ctx context.Context, d *disk, s state.Slot, b measured.Boot) (*program.Program, error) {
	f, err := d.files.Open(d.System(s))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	return program.Read(ctx, io.NewSectionReader(f, 0, size), b)
}

// addConfig adds the configuration to a candidate, if there is one. raise says that what was kept before is not to be
// opened any more.
func (n *node) addConfig(ctx context.Context, d *disk, c *slot.Candidate, t transport.TPM, b measured.Boot) (raise bool, err error) {
	st := n.steps.State()
	c.Overlay = st.Overlay
	sealed := n.steps.Sealed()
	switch {
	case st.Overlay == 0:
		return false, nil
	case n.kept:
		return false, n.same(ctx, d, c)
	case sealed == nil:
		return false, errors.New("the configuration can not be had any more, because this program was started again; it is kept after the next boot")
	}
	boots, err := b.Disk()
	if err != nil {
		return false, err
	}
	count, err := vault.Count(t)
	if err != nil {
		return false, err
	}
	config, raise := n.unchanged(d, sealed.Manifest, boots, count)
	if config == nil {
		// What was kept with another configuration is to be opened no more once this one is there.
		policy := vault.Policy{Boots: boots, Until: count}
		if raise = n.replaces(d, sealed.Manifest); raise {
			policy.Until++
		}
		blob, err := vault.Seal(t, sealed.FileKey, policy)
		if err != nil {
			return false, err
		}
		config = &kept.Config{Node: st.Node, Tier: st.Tier, Time: st.Time.Truncate(time.Second), Manifest: sealed.Manifest, Key: blob}
	}
	sum := kept.NewSum()
	ciphertext, err := sealed.Ciphertext()
	if err != nil {
		return false, err
	}
	_, err = io.Copy(sum, ciphertext)
	if err := errors.Join(err, ciphertext.Close()); err != nil {
		return false, fmt.Errorf("reading the overlay once more: %w", err)
	}
	if c.Content.Config, err = sum.File(config); err != nil {
		return false, err
	}
	c.Config = func() (io.ReadCloser, error) {
		from, err := sealed.Ciphertext()
		if err != nil {
			return nil, err
		}
		return kept.Reader(from, config)
	}
	return raise, nil
}

// same has a candidate keep the configuration of the slot that the machine runs from, which has to be the good one:
// nothing is written then.
func (n *node) same(ctx context.Context, d *disk, c *slot.Candidate) error {
	if good, err := d.Good(ctx); good != n.slot {
		return errors.Join(fmt.Errorf("what runs is slot %v, and the good one is slot %v; that stays so", n.slot, good), err)
	}
	f, err := d.files.Open(d.Config(n.slot))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, size)); err != nil {
		return err
	}
	c.Content.Config = state.Image{Size: size, SHA256: [sha256.Size]byte(h.Sum(nil))}
	return nil
}

// unchanged is what the good slot knows of the configuration, if it is the same and opens after a boot that is one of
// boots; else nil. raise says that the counter has yet to be raised for it.
func (n *node) unchanged(d *disk, signed []byte, boots []tpm.PCRs, count uint64) (config *kept.Config, raise bool) {
	old, err := n.configuration(d, d.Record().Good)
	if err != nil {
		return nil, false
	}
	defer old.file.Close()
	now, next := vault.Policy{Boots: boots, Until: count}, vault.Policy{Boots: boots, Until: count + 1}
	switch {
	case !bytes.Equal(old.Manifest, signed):
	case vault.Under(old.Key, now):
		return old.Config, false
	case vault.Under(old.Key, next):
		return old.Config, true
	}
	return nil, false
}

// replaces tells whether the good slot has another configuration, or one that can not be read.
func (n *node) replaces(d *disk, signed []byte) bool {
	old, err := n.configuration(d, d.Record().Good)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer old.file.Close()
	return !bytes.Equal(old.Manifest, signed)
}

// entries has the firmware boot the network, then the good slot, then the other one.
func (n *node) entries(d *disk, good state.Slot) error {
	var list []efiboot.Entry
	for _, s := range []state.Slot{good, good.Other()} {
		if s == good || d.Record().Content(s).System.Size > 0 {
			list = append(list, efiboot.Entry{Title: titles[s], File: d.System(s)})
		}
	}
	return n.vars.Update(d.partition.Partition, n.from == machine.Network, list...)
}
