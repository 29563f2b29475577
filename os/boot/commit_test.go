package boot

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/vault"
	"github.com/ember-os/ember/os/attest"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/esp"
	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/measured"
	"github.com/ember-os/ember/tools/uki"
	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

// fakeSteps are those of a machine that has been let in, or has opened what was kept.
type fakeSteps struct {
	steps
	state  attest.State
	sealed *attest.Sealed
	key    manifest.Key
	opened *attest.Sealed
	capErr error

	openedAt time.Time
}

func (s *fakeSteps) State() attest.State           { return s.state }
func (s *fakeSteps) Sealed() *attest.Sealed        { return s.sealed }
func (s *fakeSteps) Keys() ([]manifest.Key, error) { return []manifest.Key{s.key}, nil }
func (s *fakeSteps) Forget() error                 { s.sealed = nil; return nil }
func (s *fakeSteps) Others() *http.Client          { return http.DefaultClient }
func (s *fakeSteps) Open(kept attest.Sealed, node string, at time.Time) error {
	r, err := kept.Ciphertext()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	s.opened, s.state.Node, s.openedAt = &kept, node, at
	return err
}

// bench is a machine with a real TPM and a real FAT, whose boots are played.
type bench struct {
	*node
	t      *testing.T
	steps  *fakeSteps
	tpm    *attesttest.TPM
	disk   *fattest.Disk
	signer ed25519.PrivateKey
	served []byte         // the system, by the boot server
	sealed *attest.Sealed // of keeps
	log    bytes.Buffer
}

// shared is a TPM that somebody else closes.
type shared struct{ transport.TPM }

func (shared) Close() error { return nil }

func newBench(t *testing.T, name string) *bench {
	public, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, steps: &fakeSteps{key: manifest.Key(public)}, tpm: attesttest.New(t, name), disk: fattest.New(20000), signer: signer}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(b.served) }))
	t.Cleanup(web.Close)
	b.node = &node{
		log:   slog.New(slog.NewTextHandler(&b.log, nil)),
		vars:  efiboot.Variables{Dir: t.TempDir()},
		steps: b.steps,
		tpm:   func() (transport.TPMCloser, error) { return shared{b.tpm}, nil },
		partition: func() (*disk, error) {
			return &disk{files: b.disk, partition: esp.Partition{Name: "vda1", Partition: efiboot.Partition{Number: 1, GUID: efiboot.GUID{1}}}, close: func() error { return nil }}, nil
		},
	}
	b.config.LKG.URL = web.URL
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", &b.log)
		}
	})
	return b
}

// system is a program of that name.
func system(t *testing.T, name string) []byte {
	t.Helper()
	stub := petest.Image(petest.Options{Sections: [][2]string{{".text", "stub"}, {".sbat", "sbat,1\n"}}})
	b, err := uki.Build(stub, uki.Content{
		Kernel: petest.Image(petest.Options{Sections: [][2]string{{".setup", "kernel"}}}),
		Initrd: bytes.Repeat([]byte(name), 1000), Cmdline: "console=ttyS0", OSRelease: []byte("ID=ember\n"), Release: "6.12",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// boot resets the machine, and boots a system.
func (b *bench) boot(from machine.Source, image []byte) machine.Boot {
	b.t.Helper()
	if err := b.tpm.Reset(); err != nil {
		b.t.Fatal(err)
	}
	events := []attesttest.Event{
		{PCR: 7, Type: attesttest.Variable, Data: []byte("Secure Boot is off")},
		{PCR: 4, Type: attesttest.Action, Data: []byte("Calling EFI Application from Boot Option")},
		{PCR: 4, Type: attesttest.Separator, Data: make([]byte, 4)},
		{PCR: 7, Type: attesttest.Separator, Data: make([]byte, 4)},
	}
	measures, err := uki.Events(image)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range measures {
		kind := uint32(attesttest.IPL)
		if e.PCR == 4 {
			kind = attesttest.Application
		}
		events = append(events, attesttest.Event{PCR: e.PCR, Type: kind, Digest: e.Digest[:]})
	}
	now := measured.Boot{PCRs: tpm.PCRs{}}
	if now.Events, err = eventlog.Parse(b.tpm.Boot(events...)); err != nil {
		b.t.Fatal(err)
	}
	for _, pcr := range measured.PCRs {
		now.PCRs[pcr] = eventlog.Replay(now.Events, pcr)
	}
	b.measured = func(transport.TPM) (measured.Boot, error) { return now, nil }
	b.kept, b.slot, b.again = false, state.None, false
	b.steps.state, b.steps.sealed, b.steps.opened = attest.State{Phase: attest.Capped}, nil, nil
	examined := b.examine(b.t.Context())
	b.from = from
	return examined
}

// gets has the machine let in, with a version of its configuration.
func (b *bench) gets(version uint64) {
	b.t.Helper()
	server, err := age.GenerateHybridIdentity()
	if err != nil {
		b.t.Fatal(err)
	}
	m := &manifest.Manifest{Format: manifest.Format, Name: "rack", Version: version, Created: time.Unix(1800000000, 0).UTC()}
	var file bytes.Buffer
	err = seal.Seal(&file, []age.Recipient{server.Recipient()}, m, func(w *archive.Writer) error {
		return w.Add(archive.Entry{Path: "etc", Kind: archive.Directory, Mode: 0o755}, nil)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	key, err := seal.FileKey(file.Bytes()[:min(file.Len(), seal.HeaderSize)], server)
	if err != nil {
		b.t.Fatal(err)
	}
	signed, err := manifest.Sign(m, b.signer)
	if err != nil {
		b.t.Fatal(err)
	}
	b.steps.sealed = &attest.Sealed{Manifest: signed, FileKey: key, Ciphertext: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(file.Bytes())), nil
	}}
	b.has(version)
}

// has is the state of a machine that has a version in its root.
func (b *bench) has(version uint64) {
	b.steps.state.Overlay, b.steps.state.Node, b.steps.state.Tier = version, strings.Repeat("a", 64), protocol.Attested
	b.steps.state.Time = time.Unix(1800000000, 0).UTC()
	if err := tpm.Cap(b.tpm); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) commits() {
	b.t.Helper()
	if err := b.commit(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// holds checks what the good slot holds.
func (b *bench) holds(want state.Slot, image []byte, version uint64) state.Record {
	b.t.Helper()
	d, err := b.open()
	if err != nil {
		b.t.Fatal(err)
	}
	good, err := d.Good(b.t.Context())
	r := d.Record()
	if good != want || err != nil || r.Overlay != version || r.Content(good).System.SHA256 != sha256.Sum256(image) {
		b.t.Errorf("slot %v is good, with version %d, %v", good, r.Overlay, err)
	}
	return r
}

// opens has a boot from a slot take the configuration that is there.
func (b *bench) opens(s state.Slot) error {
	b.t.Helper()
	b.from, b.slot, b.kept = machine.Disk, s, true
	return b.openKept(b.t.Context())
}

func TestCommit(t *testing.T) {
	b := newBench(t, "commit")
	first, second := system(t, "first"), system(t, "second")
	b.served = first
	if e := b.boot(machine.Network, first); e.Failures != 1 || e.From != machine.Network || e.Means != (machine.Means{}) {
		t.Errorf("the first boot is %+v", e)
	}
	b.gets(7)
	sealed := b.steps.sealed
	b.commits()
	b.holds(state.A, first, 7)
	if got := b.vars.Preferred(titles[state.B], titles[state.A]); got != titles[state.A] {
		t.Errorf("the firmware boots %q", got)
	}

	// Nobody answers, and the slot is booted.
	if e := b.boot(machine.Disk, first); e.Failures != 1 || !e.Means.Kexec {
		t.Errorf("the boot after a success is %+v", e)
	}
	if b.least != (attest.Least{Name: "rack", Version: 7}) {
		t.Errorf("the least version is %+v", b.least)
	}
	if err := b.opens(state.A); err != nil || b.steps.opened == nil || !bytes.Equal(b.steps.opened.FileKey, sealed.FileKey) || !bytes.Equal(b.steps.opened.Manifest, sealed.Manifest) {
		t.Fatalf("%+v, %v", b.steps.opened, err)
	}
	if got, want := b.steps.openedAt, time.Unix(1800000000, 0); !got.Equal(want) {
		t.Errorf("it was let in at %v, not %v", got, want)
	}
	b.has(7)
	before := b.holds(state.A, first, 7)
	b.commits()
	if r := b.holds(state.A, first, 7); r.Slots != before.Slots || r.Sequence != before.Sequence+1 {
		t.Error("what runs was written again")
	}

	// What is the same already is not written, nor sealed anew.
	b.boot(machine.Network, first)
	b.steps.sealed = sealed
	b.has(7)
	b.served = nil // nobody is asked for it
	b.commits()
	if r := b.holds(state.A, first, 7); r.Slots != before.Slots {
		t.Error("what is the same was written again")
	}

	// Another configuration takes the other slot, and the one before can not be opened any more.
	b.boot(machine.Network, first)
	b.gets(8)
	b.commits()
	b.holds(state.B, first, 8)
	b.boot(machine.Disk, first)
	if err := b.opens(state.A); !errors.Is(err, vault.ErrRaised) {
		t.Errorf("what was kept before: %v", err)
	}
	if err := b.opens(state.B); err != nil {
		t.Error(err)
	}
	sealed = b.steps.opened

	// So does another system, for which the same configuration is sealed again.
	b.boot(machine.Network, second)
	b.served = second
	b.steps.sealed = sealed
	b.has(8)
	sealedBytes := b.read(state.B)
	b.steps.sealed.Ciphertext = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(sealedBytes)), nil }
	b.commits()
	b.holds(state.A, second, 8)
	b.boot(machine.Disk, second)
	if err := b.opens(state.A); err != nil {
		t.Error(err)
	}
	b.boot(machine.Disk, first)
	if err := b.opens(state.B); err != nil { // not older than the other
		t.Error(err)
	}
	if err := b.opens(state.A); !errors.Is(err, vault.ErrPCRs) {
		t.Errorf("what is for another system: %v", err)
	}
	b.boot(machine.Disk, second)
	b.has(8)
	if err := b.opens(state.A); !errors.Is(err, vault.ErrPCRs) {
		t.Errorf("once the workload runs: %v", err)
	}
}

// read gives the ciphertext in a slot.
func (b *bench) read(s state.Slot) []byte {
	b.t.Helper()
	d, err := b.open()
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := b.configuration(d, s)
	if err != nil {
		b.t.Fatal(err)
	}
	defer c.file.Close()
	text, err := io.ReadAll(c.ciphertext)
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

func TestCommitFails(t *testing.T) {
	first := system(t, "first")
	for name, c := range map[string]struct {
		change func(*bench)
		why    error
		says   string
	}{
		"another system is served": {func(b *bench) { b.served = system(t, "second") }, program.ErrOther, ""},
		"no TPM": {func(b *bench) {
			b.node.tpm = func() (transport.TPMCloser, error) { return nil, tpm.ErrNone }
		}, program.ErrUnmeasured, ""},
		"nothing was measured": {func(b *bench) {
			b.measured = func(transport.TPM) (measured.Boot, error) { return measured.Boot{}, nil }
		}, program.ErrUnmeasured, ""},
		"nothing was measured, and no address is given": {func(b *bench) {
			b.config.LKG.URL = ""
			b.measured = func(transport.TPM) (measured.Boot, error) { return measured.Boot{}, nil }
		}, program.ErrUnmeasured, ""},
		"no address is given": {func(b *bench) { b.config.LKG.URL = "" }, nil, cmdline.LKGURLParam + " does not say where the program is"},
		"a command line was added": {func(b *bench) {
			was := b.measured
			b.measured = func(t transport.TPM) (measured.Boot, error) {
				now, err := was(t)
				now.PCRs[12] = [sha256.Size]byte{1}
				return now, err
			}
		}, measured.ErrAdded, ""},
		"this program was started again": {func(b *bench) { b.steps.sealed = nil }, nil, "it is kept after the next boot"},
		"the machine stops":              {nil, context.Canceled, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "fails")
			b.served = first
			for range 3 {
				b.boot(machine.Network, first)
			}
			b.gets(7)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.change != nil {
				c.change(b)
			} else {
				cancel()
			}
			if err := b.commit(ctx); err == nil || c.why != nil && !errors.Is(err, c.why) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v", err)
			}
			d, err := b.open()
			if err != nil {
				t.Fatal(err)
			}
			if r := d.Record(); r.Good != state.None || r.Success.IsZero() != (c.change == nil) {
				t.Errorf("the state is %+v", r)
			}
			if _, err := b.disk.Open(slot.DefaultPaths["amd64"]); err == nil {
				t.Error("there is a program")
			}
		})
	}
}
