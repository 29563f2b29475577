package measured

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/tpm"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

// The logs in testdata are of one unified kernel image, which OVMF has started, in QEMU with swtpm: uki.Build of
// systemd's stub 257.13, a kernel 6.12.117 of Debian's, and an initrd that prints the log. OVMF is of Debian 12.
const (
	pxe        = "pxe.log"         // by PXE, from the first boot entry
	disk       = "disk.log"        // from a disk, after one entry in vain
	dead       = "deadnet.log"     // from a disk, after PXE and HTTP over IPv4 and IPv6
	securePXE  = "secure-pxe.log"  // as pxe, with Secure Boot
	secureDisk = "secure-disk.log" // as disk, with Secure Boot
)

// What the TPM had in both.
var both = map[int]string{
	7:  "65caf8dd1e0ea7a6347b635d2b379c93b9a1351edc2afc3ecda700e534eb3068",
	9:  "eb219ce93658348bb84b43d0da42fa867214ac674acf621bccd2cb80137b9be8",
	11: "d65f79403b9a7e5afe9cf86ced48998126465a2ce796a5754a00b9d90ac1ed6f",
}

func logOf(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func eventsOf(t testing.TB, name string) []eventlog.Event {
	t.Helper()
	events, err := eventlog.Parse(logOf(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// bootOf is what is measured of events.
func bootOf(events []eventlog.Event) Boot {
	b := Boot{events, tpm.PCRs{}}
	for _, pcr := range PCRs {
		b.PCRs[pcr] = eventlog.Replay(events, pcr)
	}
	return b
}

// start has a TPM measure events.
func start(t *testing.T, events []eventlog.Event) *attesttest.TPM {
	t.Helper()
	p := attesttest.New(t, "one")
	for _, e := range events {
		if err := p.Extend(e.PCR, e.Digest[:]); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestRead(t *testing.T) {
	for name, pcr4 := range map[string]string{
		pxe:  "1aa5a7186c7531bada7914e68e16215ec24dca59d1a4ccea2f86dbd33c862088",
		disk: "3be29eaad2c1f7fb2117c716136c256d5cbcc3594b5196407b55ef1b2367cec7",
	} {
		p := start(t, eventsOf(t, name))
		for range 3 { // the second time after a cap
			b, err := read(p, logOf(t, name))
			if err != nil {
				t.Fatal(err)
			}
			want := maps.Clone(both)
			want[4] = pcr4
			for pcr, value := range want {
				if got := b.PCRs[pcr]; hex.EncodeToString(got[:]) != value {
					t.Errorf("%s: PCR %d is %x", name, pcr, got)
				}
			}
			if err := tpm.Cap(p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestReadRefused(t *testing.T) {
	log := logOf(t, pxe)
	for _, pcr := range []int{4, 7, 9, 11, 12} {
		p := start(t, eventsOf(t, pxe))
		if err := p.Extend(pcr, make([]byte, 32)); err != nil {
			t.Fatal(err)
		}
		if _, err := read(p, log); err == nil || !strings.Contains(err.Error(), "another value of PCR") {
			t.Errorf("PCR %d: %v", pcr, err)
		}
		if b, err := read(p, nil); err != nil || b.Events != nil || len(b.PCRs) != len(PCRs) {
			t.Errorf("without a log: %+v, %v", b, err)
		}
		if _, err := read(p, log[:100]); err == nil {
			t.Error("half a log is read")
		}
	}
	p := attesttest.New(t, "one")
	if err := p.Banks(tpm2.TPMAlgSHA1); err != nil {
		t.Fatal(err)
	}
	if _, err := read(p, log); !errors.Is(err, tpm.ErrNoSHA256) {
		t.Error(err)
	}
}

// same is how many of the predicted values are what was measured.
func same(boot tpm.PCRs, real Boot) (n int) {
	for pcr, value := range boot {
		if real.PCRs[pcr] == value {
			n++
		}
	}
	return n
}

// TestDisk predicts what boots from the disk have measured.
func TestDisk(t *testing.T) {
	for _, from := range []string{pxe, disk, dead} {
		boots, err := bootOf(eventsOf(t, from)).Disk()
		if err != nil || len(boots) != MaxTried+1 {
			t.Fatalf("from %s: %d boots, %v", from, len(boots), err)
		}
		for of, after := range map[string]int{pxe: 0, disk: 1, dead: 4} { // entries in vain
			real := bootOf(eventsOf(t, of))
			for tried, boot := range boots {
				want := 3
				if tried == after {
					want = 4
				}
				if n := same(boot, real); len(boot) != 4 || n != want {
					t.Errorf("from %s: after %d entries in vain %d of %d PCRs are those of %s", from, tried, n, len(boot), of)
				}
			}
		}
	}
}

// change gives a log with something done to it.
func change(t *testing.T, do func(events []eventlog.Event) []eventlog.Event) Boot {
	t.Helper()
	return bootOf(do(eventsOf(t, pxe)))
}

func indexOf(events []eventlog.Event, pcr int, kind uint32) int {
	return slices.IndexFunc(events, func(e eventlog.Event) bool { return e.PCR == pcr && e.Type == kind })
}

// loader has another program load the image.
func loader(events []eventlog.Event) []eventlog.Event {
	at := indexOf(events, 4, eventlog.BootApplication)
	return slices.Insert(events, at,
		eventlog.Event{PCR: 4, Type: eventlog.BootApplication, Digest: [32]byte{2}}, eventlog.Event{PCR: 9, Type: eventlog.EventTag, Digest: [32]byte{3}})
}

func TestDiskSecure(t *testing.T) {
	for _, from := range []string{securePXE, secureDisk} {
		boots, err := bootOf(eventsOf(t, from)).Disk()
		if err != nil || len(boots) != 1 || len(boots[0]) != 3 {
			t.Fatalf("from %s: %d boots, %v", from, len(boots), err)
		}
		if n := same(boots[0], bootOf(eventsOf(t, secureDisk))); n != 3 {
			t.Errorf("from %s: %d PCRs are those of the disk", from, n)
		}
		if n := same(boots[0], bootOf(eventsOf(t, disk))); n != 2 {
			t.Errorf("from %s: without Secure Boot %d PCRs are the same", from, n)
		}
	}
}

// TestDiskLoader has something else load the image, which does not do so from a disk.
func TestDiskLoader(t *testing.T) {
	want, err := bootOf(eventsOf(t, pxe)).Disk()
	if err != nil {
		t.Fatal(err)
	}
	b := change(t, loader)
	boots, err := b.Disk()
	if err != nil || !slices.EqualFunc(boots, want, maps.Equal) {
		t.Errorf("%x, %v", boots, err)
	}
	if digest, is := b.Program(); !is || digest == [32]byte{2} {
		t.Errorf("it is taken for %x", digest)
	}
}

func TestDiskRefused(t *testing.T) {
	at := func(pcr int, kind uint32) func(events []eventlog.Event) []eventlog.Event {
		return func(events []eventlog.Event) []eventlog.Event {
			return append(events, eventlog.Event{PCR: pcr, Type: kind, Digest: [32]byte{4}})
		}
	}
	for name, c := range map[string]struct {
		boot Boot
		want error
	}{
		"no log":              {Boot{}, ErrUnmeasured},
		"no stub":             {change(t, func(e []eventlog.Event) []eventlog.Event { return e[:indexOf(e, 11, attesttest.IPL)] }), ErrUnmeasured},
		"no firmware":         {change(t, func(e []eventlog.Event) []eventlog.Event { return e[indexOf(e, 11, attesttest.IPL):] }), ErrUnmeasured},
		"a line":              {change(t, at(12, attesttest.IPL)), ErrAdded},
		"an extension":        {change(t, at(13, attesttest.IPL)), ErrAdded},
		"shim":                {change(t, at(7, eventlog.Authority)), ErrLoader},
		"secure, by a loader": {bootOf(loader(eventsOf(t, securePXE))), ErrLoader},
	} {
		if boots, err := c.boot.Disk(); !errors.Is(err, c.want) || boots != nil {
			t.Errorf("%s: %d boots, %v", name, len(boots), err)
		}
	}
}

// The variable SecureBoot as firmware measures it when it is off has the same bytes, but for the last.
func TestSecureBoot(t *testing.T) {
	events := eventsOf(t, pxe)
	e := events[slices.IndexFunc(events, func(e eventlog.Event) bool { return e.PCR == 7 })]
	on := slices.Clone(e.Data)
	if sha256.Sum256(on) != e.Digest || on[len(on)-1] != 0 {
		t.Fatalf("it is %x", on)
	}
	on[len(on)-1] = 1
	if sha256.Sum256(on) != secureBoot {
		t.Errorf("it is %x", on)
	}
}

// Whatever is in a log, what is said of it is of it.
func FuzzDisk(f *testing.F) {
	f.Add(logOf(f, pxe))
	f.Add(logOf(f, secureDisk))
	f.Fuzz(func(t *testing.T, log []byte) {
		events, err := eventlog.Parse(log)
		if err != nil {
			return
		}
		b := bootOf(events)
		boots, err := b.Disk()
		if _, is := b.Program(); err == nil && !is || err != nil && boots != nil {
			t.Errorf("%d boots, %v", len(boots), err)
		}
	})
}
