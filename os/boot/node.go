package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/vault"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/download"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/measured"
	"github.com/ember-os/ember/os/stage"
)

// steps is *attest.Steps.
type steps interface {
	State() attest.State
	Network(ctx context.Context) error
	Attest(ctx context.Context, from string) error
	Fetch(ctx context.Context, least attest.Least) error
	Open(kept attest.Sealed, node string, at time.Time) error
	Apply(ctx context.Context) error
	Cap(ctx context.Context) error
	Ready() error
	Sealed() *attest.Sealed
	Forget() error
	Keys() ([]manifest.Key, error)
	Others() *http.Client
	Probe(ctx context.Context) error
}

// node is the work of a real machine.
type node struct {
	config cmdline.Config
	log    *slog.Logger
	root   string // of dev and sys
	vars   efiboot.Variables
	steps  steps

	partition func() (*disk, error) // mounts it
	tpm       func() (transport.TPMCloser, error)
	measured  func(transport.TPM) (measured.Boot, error)

	from  machine.Source
	slot  state.Slot   // that it runs from, as far as the firmware tells; None if it is none
	least attest.Least // of the configuration that is kept
	kept  bool         // runs with it
	ready bool         // the workload was told to start
	again bool         // another process of this program was there before
}

func (n *node) begin(ctx context.Context, p machine.Phase, kept bool) error {
	switch {
	case p == machine.Netboot:
		return n.steps.Network(ctx)
	case p == machine.Attest:
		return n.attest(ctx)
	case p == machine.Fetch && kept:
		return n.openKept(ctx)
	case p == machine.Fetch:
		return n.steps.Fetch(ctx, n.least)
	case p == machine.Apply:
		return n.steps.Apply(ctx)
	}
	return n.commit(ctx)
}

func (n *node) start() error {
	n.ready = true
	return n.steps.Ready()
}

func (n *node) watch(ctx context.Context, changed func(healthy bool, why string)) {
	health.Watch(ctx, health.Options{Config: n.config, Except: []string{Unit}, Log: n.log}, func(r health.Report) {
		changed(r.Healthy, r.Why())
	})
}

// attest asks the server. If none attests, a system from the disk asks the boot server in its place.
func (n *node) attest(ctx context.Context) error {
	err := n.steps.Attest(ctx, string(n.from))
	if err == nil && n.config.Attest.URL == "" && n.from == machine.Disk {
		if err = n.probe(ctx); err != nil {
			err = download.Unanswered{Err: err} // whatever it says: it has proved nothing
		}
	}
	return err
}

func (n *node) probe(ctx context.Context) error {
	if n.config.Attest.URL != "" {
		return n.steps.Probe(ctx)
	}
	client := n.steps.Others()
	defer client.CloseIdleConnections()
	from, err := program.Fetch(ctx, client, n.config.LKG.URL)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.ReadFull(from, make([]byte, 1))
	return err
}

// openKept takes the configuration of the slot that the machine runs from.
func (n *node) openKept(ctx context.Context) error {
	d, err := n.find(ctx)
	if err != nil {
		return err
	}
	defer n.close(d)
	if n.slot == state.None { // kexec does not say which
		if n.slot, err = d.Good(ctx); n.slot == state.None {
			return errors.Join(errors.New("no slot is good"), err)
		}
	}
	c, err := n.configuration(d, n.slot)
	if errors.Is(err, fs.ErrNotExist) {
		n.log.Info("what was kept has no configuration", "slot", n.slot)
		return nil
	}
	if err != nil {
		return err
	}
	defer c.file.Close()
	var key []byte
	err = n.withTPM(func(t transport.TPM) (err error) {
		key, err = vault.Unseal(t, c.Key)
		return err
	})
	if err != nil {
		return fmt.Errorf("opening the configuration that was kept: %w", err)
	}
	return n.steps.Open(attest.Sealed{
		Manifest: c.Manifest, FileKey: key,
		Ciphertext: func() (io.ReadCloser, error) { return io.NopCloser(c.ciphertext), nil },
	}, c.Node, c.Time)
}

const maxMessage = 480 // bytes: init takes no long ones

func (n *node) tell(m machine.Machine, fields []stage.Field) {
	r := Record{Phase: m.Phase, From: n.from, Kept: m.Kept}
	text := stage.FormatFields(fields...)
	for i, f := range fields {
		if f.Key != "why" {
			continue
		}
		for r.Why = f.Value; len(text) > maxMessage; text = stage.FormatFields(fields...) {
			fields[i].Value = short(fields[i].Value, len(fields[i].Value)*3/4)
		}
	}
	n.kept = m.Kept
	n.warn("others do not know how far the boot is", r.write(Path))
	message := stage.Message + "=" + text
	if !n.ready { // then it is the stage that init tells of
		message = "STATUS=" + text + "\n" + message
	}
	n.warn("init does not know how far the boot is", notify(message))
}

// short is a text of at most so many bytes, and a mark if there were more.
func short(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func notify(message string) error {
	_, err := daemon.SdNotify(false, message)
	return err
}

func (n *node) warn(consequence string, err error) {
	if err != nil {
		n.log.Warn(consequence, "err", err)
	}
}
