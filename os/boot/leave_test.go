package boot

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/power"
)

func TestNext(t *testing.T) {
	b := newBench(t, "next")
	b.root = t.TempDir()
	if err := b.next(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing was kept yet") {
		t.Errorf("at first: %v", err)
	}
	b.served = system(t, "first")
	b.boot(machine.Network, b.served)
	b.commits()
	if err := b.next(t.Context()); err != nil || !b.vars.Pending() {
		t.Fatalf("once something is kept: %v", err)
	}
	if e := b.boot(machine.Network, b.served); e.Means != (machine.Means{Kexec: true}) {
		t.Errorf("the firmware does not care for BootNext: %+v", e.Means)
	}

	path := filepath.Join(b.root, "run/ember/last-boot.json")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"Reboot":{"Text":"reboot: to last-known-good: nobody answers"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.next(t.Context()); err == nil || !strings.Contains(err.Error(), "ignored BootNext") {
		t.Errorf("a second time: %v", err)
	}
}

// TestLeave tells init why the machine reboots.
func TestLeave(t *testing.T) {
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	init, err := net.ListenUnixgram(address.Net, address)
	if err != nil {
		t.Fatal(err)
	}
	defer init.Close()
	t.Setenv("NOTIFY_SOCKET", address.Name)
	for verb, want := range map[machine.Verb]string{machine.Reboot: "boot failed: why", machine.Return: "back to the network: why"} {
		if err := new(node).leave(t.Context(), verb, "why"); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1000)
		n, err := init.Read(b)
		if got := string(b[:n]); err != nil || got != power.Message+"="+want {
			t.Errorf("%s: init is told %q, %v", verb, got, err)
		}
	}
}

func (s *fakeSteps) Cap(context.Context) error { return s.capErr }

func TestBefore(t *testing.T) {
	done := machine.Done
	for name, c := range map[string]struct {
		phase  attest.Phase
		record Record
		capErr error
		want   []machine.Event
		leads  machine.Phase // to
	}{
		"a new boot":                {"", Record{}, nil, nil, machine.Netboot},
		"it was asking":             {attest.Trying, Record{Phase: machine.Attest}, nil, nil, machine.Netboot},
		"it was writing":            {attest.Committing, Record{Phase: machine.Apply}, nil, []machine.Event{done, done, done, machine.Broken}, machine.Waiting},
		"it had written":            {attest.Applied, Record{Phase: machine.Apply}, nil, []machine.Event{done, done, done, done}, machine.Start},
		"it can not cap":            {attest.Applied, Record{Phase: machine.Apply}, errors.New("no"), []machine.Event{done, done, done, machine.Broken}, machine.Waiting},
		"the node was healthy":      {attest.Capped, Record{Phase: machine.Kept}, nil, []machine.Event{done, done, done, done}, machine.Start},
		"with what was kept":        {attest.Capped, Record{Phase: machine.Start, From: machine.Disk, Kept: true}, nil, []machine.Event{machine.Late, done, done}, machine.Start},
		"in the middle of what was": {attest.Committing, Record{Phase: machine.Apply, From: machine.Disk, Kept: true}, nil, []machine.Event{machine.Late, done, machine.Broken}, machine.Waiting},
	} {
		n := &node{steps: &fakeSteps{state: attest.State{Phase: c.phase}, capErr: c.capErr}, log: slog.New(slog.DiscardHandler)}
		if got := n.before(t.Context(), c.record); !slices.Equal(got, c.want) || n.again != (c.record.Phase != "") {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		// It runs from a slot that is not the good one.
		m, actions := machine.New(c.record.resume(machine.Boot{From: machine.Disk, Means: machine.Means{Next: true, Kexec: true}, Limits: machine.DefaultLimits}))
		for _, e := range c.want {
			m, actions = m.Next(e)
		}
		if m.Phase != c.leads || m.Kept != c.record.Kept || len(actions) == 0 {
			t.Errorf("%s: it goes on with %v: %v", name, m.Phase, actions)
		}
	}
}
