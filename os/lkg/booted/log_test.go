package booted

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/os/lkg/booted/bootedtest"
	"github.com/google/go-attestation/attest"
)

const firstEvent = 32 + 33 // bytes: where the second one begins

// someMeasured are the digests of the events in someLog that may be of initrds.
var someMeasured = []Digest{sha256.Sum256([]byte("initrd")), {9}}

func someLog() []byte {
	nine := someMeasured[1]
	return attesttest.Log(
		attesttest.Event{PCR: 4, Type: attesttest.Application, Data: []byte("a program")},
		attesttest.Event{PCR: 9, Type: 6, Data: []byte("Linux initrd"), Digest: someMeasured[0][:]},
		attesttest.Event{PCR: 9, Type: attesttest.NoAction, Data: []byte("nothing is measured")},
		attesttest.Event{PCR: 11, Type: attesttest.IPL, Digest: nine[:]},
		attesttest.Event{PCR: 12, Type: attesttest.IPL, Data: []byte("a command line")},
	)
}

// TestMeasured compares with another reader of logs.
func TestMeasured(t *testing.T) {
	for name, b := range map[string][]byte{"some": someLog(), "of a machine": attesttest.Log(attesttest.Firmware()...)} {
		log, err := attest.ParseEventLog(b)
		if err != nil {
			t.Fatal(err)
		}
		var want []Digest
		for _, e := range log.Events(attest.HashSHA256) {
			if (e.Index == 9 || e.Index == 11) && e.Type != attesttest.NoAction {
				want = append(want, Digest(e.Digest))
			}
		}
		got, err := measured(b)
		if err != nil || len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: %x, %v, want %x", name, got, err, want)
		}
	}
}

func FuzzMeasured(f *testing.F) {
	f.Add(someLog())
	f.Add(attesttest.Log(attesttest.Firmware()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := measured(b); err != nil && got != nil {
			t.Errorf("%x and %v", got, err)
		}
	})
}

func FuzzKernelOf(f *testing.F) {
	f.Add(bootedtest.Image(bootedtest.Program(bootedtest.BuildID(someID))))
	f.Add([]byte("kernel"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := kernelOf(b); err != nil && got != (Digest{}) {
			t.Errorf("%x and %v", got, err)
		}
	})
}
