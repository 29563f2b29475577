// Package booted tells what this machine was booted with: the digests of its kernel and initrd, as they were
// published.
//
// Where systemd's stub started a unified kernel image, both are in PCR 11: the stub extends it with the content of
// each of the image's sections. Else the initrd is what the kernel has kept of it (retain_initrd), and the kernel's
// digest is not known: firmware measures programs without their signatures, which gives another one.
//
// The event log is compared with the TPM's PCRs. A TPM can not tell a machine that is itself not what it should be,
// so this keeps nobody from anything that the server's policy does not: it finds configuration that is for another
// version.
package booted

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/ember-os/ember/attest/eventlog"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
)

// Where Linux shows the initrd it was started with, and what systemd's stub has left for it.
const (
	Initrd = "/sys/firmware/initrd"
	stub   = "/sys/firmware/efi/efivars/StubInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

// PCRs are those that Read compares with the log: boot programs, Secure Boot, what the kernel measures, and the
// stub's three.
var PCRs = []int{4, 7, 9, 11, 12, 13}

// Boot is what was measured. The zero Boot is of a machine without a TPM, or without a log.
type Boot struct {
	Events []eventlog.Event
	PCRs   tpm.PCRs // before the cap
}

// Read reads the log of this boot and compares it with the TPM. PCR 11 may have been capped. A machine of which the
// firmware, or what has started Linux, keeps no log has no events, and PCRs as they are.
func Read(t transport.TPM) (Boot, error) {
	log, err := tpm.EventLog()
	if err != nil {
		return Boot{}, err
	}
	return read(t, log)
}

func read(t transport.TPM, log []byte) (Boot, error) {
	values, err := tpm.ReadPCRs(t, PCRs...)
	if err != nil || log == nil {
		return Boot{PCRs: values}, err
	}
	events, err := eventlog.Parse(log)
	if err != nil {
		return Boot{}, err
	}
	b := Boot{events, tpm.PCRs{}}
	for _, pcr := range PCRs {
		b.PCRs[pcr] = eventlog.Replay(events, pcr)
		if b.PCRs[pcr] != values[pcr] && (pcr != protocol.CapPCR || !capped(b.PCRs[pcr], values[pcr])) {
			return Boot{}, fmt.Errorf("the event log makes another value of PCR %d than the TPM has", pcr)
		}
	}
	return b, nil
}

const maxCaps = 64 // each try to cap may have been one

// capped tells whether caps make one value of another.
func capped(before, value [sha256.Size]byte) bool {
	end := sha256.Sum256([]byte(protocol.CapEvent))
	for range maxCaps {
		if before = eventlog.Extend(before, end); before == value {
			return true
		}
	}
	return false
}

// Section is the SHA-256 of what a section of the unified kernel image holds that the machine was started from, as
// its stub has measured it.
func (b Boot) Section(name string) (digest [sha256.Size]byte, is bool) {
	want := sha256.Sum256([]byte(name + "\x00"))
	named := true // the next event is of content
	for _, e := range b.Events {
		if e.PCR != protocol.CapPCR {
			continue
		}
		if named = !named; named && is {
			return e.Digest, true
		}
		is = !named && e.Digest == want
	}
	return [sha256.Size]byte{}, false
}

// Digests are those of files as they were published; zero where one is not known.
type Digests struct{ Kernel, Initrd manifest.Digest }

// The reasons not to know one, which people read.
var (
	ErrKernel = errors.New("the digest of the kernel that runs is known only where a unified kernel image (//os:uki) was booted, with a TPM")
	ErrInitrd = errors.New("the digest of the initrd is known only with retain_initrd on the kernel command line, or where a unified kernel image (//os:uki) was booted, with a TPM")
)

// Digests tells what it can; an error, of both reasons or one, is why it is not more.
func (b Boot) Digests() (Digests, error) { return b.digests(Initrd, stub) }

func (b Boot) digests(initrd, stub string) (d Digests, err error) {
	kernel, kernelKnown := b.Section(".linux")
	d.Kernel = kernel
	if !kernelKnown {
		err = ErrKernel
	}
	sum, known := b.Section(".initrd")
	d.Initrd = sum
	if known {
		return d, err
	}
	if _, gone := os.Stat(stub); gone == nil { // the stub adds to the initrd, and has measured nothing
		return d, errors.Join(err, ErrInitrd)
	}
	f, failed := os.Open(initrd)
	if errors.Is(failed, fs.ErrNotExist) {
		return d, errors.Join(err, ErrInitrd)
	}
	if failed == nil {
		defer f.Close()
		h := sha256.New()
		if _, failed = io.Copy(h, f); failed == nil {
			d.Initrd = manifest.Digest(h.Sum(nil))
		}
	}
	if failed != nil {
		err = errors.Join(err, fmt.Errorf("reading the initrd: %w", failed))
	}
	return d, err
}
