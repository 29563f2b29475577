// Package booted tells which kernel and which initrd a machine runs, and what tells the same of the files that
// it would run.
//
// A kernel is known by its notes (elf(5), SHT_NOTE), which Linux shows at /sys/kernel/notes and which have the
// build ID that the linker computed of all of it. So it is the same kernel with another boot loader, with and
// without a signature for Secure Boot, and as part of a unified kernel image. An initrd is known by its bytes.
//
// Both are the machine's own words, of itself: they keep an honest machine from what is not for it. That a
// machine runs what it should is for its TPM to prove.
package booted

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// RetainParam is the kernel parameter without which Linux does not keep the initrd's bytes.
const RetainParam = "retain_initrd"

const (
	notesFile  = "/sys/kernel/notes"
	initrdFile = "/sys/firmware/initrd"
)

// Digest is a SHA-256 digest.
type Digest = [sha256.Size]byte

// Kernel is the digest of the notes of the kernel that runs.
func Kernel() (Digest, error) {
	sum, err := hash(notesFile)
	if err != nil {
		return Digest{}, fmt.Errorf("looking which kernel runs: %w", err)
	}
	return sum, nil
}

// Initrds are the digests of what was booted as initrd: of the bytes that Linux keeps, if it does, and of those
// that were measured on their way, which the firmware's event log has. There are several where a boot loader has
// put one together: a unified kernel image's stub adds some bytes to the initrd in it. Digests of other things
// that are measured are among them. There may be no log. Without kept, Linux has not kept the bytes, for want of
// RetainParam, and all may lack what was booted.
func Initrds(log []byte) (all []Digest, kept bool, err error) { return initrds(initrdFile, log) }

func initrds(path string, log []byte) (all []Digest, kept bool, err error) {
	sum, err := hash(path)
	if kept = err == nil; kept {
		all = append(all, sum)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, fmt.Errorf("looking which initrd was booted: %w", err)
	}
	measured, err := measured(log)
	if err != nil {
		return nil, false, fmt.Errorf("looking which initrd was booted: %w", err)
	}
	return append(all, measured...), kept, nil
}

func hash(path string) (sum Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return sum, err
	}
	return Digest(h.Sum(nil)), nil
}
