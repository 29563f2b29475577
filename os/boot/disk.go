package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/esp"
	"github.com/ember-os/ember/os/lkg/kept"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
)

const (
	mountPoint = "/run/ember/esp"
	diskTime   = 10 * time.Second // for the disk that the machine was booted from to be found
	diskPause  = 200 * time.Millisecond
)

// titles of boot entries, which people see in the firmware's menu.
var titles = map[state.Slot]string{state.A: "Ember A", state.B: "Ember B"}

// disk is the EFI system partition while it is mounted.
type disk struct {
	*slot.Store
	partition esp.Partition
	files     slot.FS
	close     func() error
}

// mount finds the partition and mounts it.
func (n *node) mount() (*disk, error) {
	b, err := n.vars.Current()
	if err != nil && !errors.Is(err, efiboot.ErrNoVariables) {
		n.log.Warn("the firmware does not say how it has booted", "err", err)
	}
	p, err := esp.Find(n.root, b.Partition, n.vars.Partition(titles[state.A], titles[state.B]))
	if err != nil {
		return nil, err
	}
	if err := esp.Mount(n.root, p, mountPoint); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(mountPoint)
	if err != nil {
		return nil, errors.Join(err, esp.Unmount(mountPoint))
	}
	return &disk{partition: p, files: slot.Dir{Root: root}, close: func() error {
		return errors.Join(root.Close(), esp.Unmount(mountPoint))
	}}, nil
}

// open opens the slots on the partition.
func (n *node) open() (*disk, error) {
	d, err := n.partition()
	if err != nil {
		return nil, err
	}
	hint := map[string]state.Slot{titles[state.A]: state.A, titles[state.B]: state.B}[n.vars.Preferred(titles[state.A], titles[state.B])]
	if d.Store, err = slot.Open(d.files, slot.DefaultPaths[runtime.GOARCH], hint); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// booted is the slot that the machine runs from, as systemd-stub tells; None if it is none. Where there is no state, what
// is in a slot's place is taken for it.
func (d *disk) booted(b efiboot.Boot) state.Slot {
	if !b.Stub || b.Partition != d.partition.GUID {
		return state.None
	}
	for _, s := range []state.Slot{state.A, state.B} {
		if strings.EqualFold(b.File, d.System(s)) && (d.Record().Content(s).System.Size > 0 || d.Err() != nil) {
			return s
		}
	}
	return state.None
}

// examine finds out how this boot began.
func (n *node) examine(ctx context.Context) machine.Boot {
	b := machine.Boot{From: machine.Network, Jitter: rand.Float64(), Limits: limits(n.config.LKG.Limits)}
	if n.config.LKG.Mode == cmdline.LKGDisk {
		b.From = machine.Disk
	}
	resets, has, err := n.resetCount()
	n.warn("boots are counted without the TPM", err)
	d, err := n.find(ctx)
	if err != nil {
		n.log.Warn("there is no last-known-good", "err", err)
		return b
	}
	defer n.close(d)
	if err := d.Err(); err != nil {
		n.log.Warn("last-known-good", "err", err)
	}
	current, err := n.vars.Current()
	if b.From != machine.Disk { // else kexec has started it, and the firmware tells of the system before it
		if n.slot = d.booted(current); n.slot != state.None {
			b.From = machine.Disk
		}
	}
	if r := d.Record(); !n.again && !(has && r.TPM && resets >= r.Resets) {
		n.warn("this boot is not counted", d.Attempt(ctx))
	}
	b.Failures = d.Record().Failures(resets, has)
	if b.From == machine.Network && (d.Record().Good != state.None || d.Err() != nil) || n.elsewhere(ctx, d) {
		b.Means = machine.Means{Next: err == nil && !n.vars.Pending(), Kexec: true}
	}
	n.least = n.oldest(d)
	return b
}

// elsewhere tells whether the machine runs from a slot, and another one is good.
func (n *node) elsewhere(ctx context.Context, d *disk) bool {
	if n.slot == state.None || n.slot == d.Record().Good {
		return false
	}
	good, _ := d.Good(ctx) // it may be damaged, and then this one may be
	return good != state.None && good != n.slot
}

// find opens the disk, and waits for it if the machine was booted from it.
func (n *node) find(ctx context.Context) (*disk, error) {
	b, _ := n.vars.Current()
	for end := time.Now().Add(diskTime); ; {
		d, err := n.open()
		if err == nil || !errors.Is(err, esp.ErrNone) || b.Partition == (efiboot.GUID{}) || time.Now().After(end) || ctx.Err() != nil {
			return d, err
		}
		time.Sleep(diskPause)
	}
}

func (n *node) close(d *disk) {
	n.warn("the EFI system partition stays in use", d.close())
}

// withTPM does something with the TPM. The error is a tpm.ErrNone or tpm.ErrVersion12 if there is none.
func (n *node) withTPM(do func(transport.TPM) error) error {
	t, err := n.tpm()
	if err != nil {
		return err
	}
	return errors.Join(do(t), t.Close())
}

func noTPM(err error) bool { return errors.Is(err, tpm.ErrNone) || errors.Is(err, tpm.ErrVersion12) }

// resetCount is the TPM's, if there is one.
func (n *node) resetCount() (resets uint32, has bool, err error) {
	err = n.withTPM(func(t transport.TPM) (err error) {
		resets, err = tpm.Resets(t)
		return err
	})
	if noTPM(err) {
		return 0, false, nil
	}
	return resets, err == nil, err
}

// configuration is that of a slot, opened.
type configuration struct {
	*kept.Config
	file       slot.File
	manifest   *manifest.Manifest
	ciphertext *io.SectionReader
}

// configuration opens what a slot has; it is an fs.ErrNotExist if there is none.
func (n *node) configuration(d *disk, s state.Slot) (*configuration, error) {
	if s == state.None || d.Err() == nil && d.Record().Content(s).Config.Size == 0 {
		return nil, fmt.Errorf("slot %v has no configuration: %w", s, fs.ErrNotExist)
	}
	keys, err := n.steps.Keys()
	if err != nil {
		return nil, err
	}
	f, err := d.files.Open(d.Config(s))
	if err != nil {
		return nil, err
	}
	c := &configuration{file: f}
	size, err := f.Size()
	if err == nil {
		c.Config, c.manifest, c.ciphertext, err = kept.Open(f, size, keys...)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

// oldest is the oldest overlay that is still good: the one that is kept.
func (n *node) oldest(d *disk) attest.Least {
	c, err := n.configuration(d, d.Record().Good)
	if errors.Is(err, fs.ErrNotExist) {
		return attest.Least{}
	}
	if err != nil {
		n.log.Warn("any version of the configuration is accepted", "err", err)
		return attest.Least{}
	}
	n.warn("the configuration that is kept stays open", c.file.Close())
	return attest.Least{Name: c.manifest.Name, Version: c.manifest.Version}
}
