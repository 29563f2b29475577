package uki

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/ember-os/ember/tools/uki/pe"
)

// measured are the sections that the stub measures of those that Build and Debian's
// stub have, in its order (systemd v257, src/fundamental/uki.c).
var measured = []string{kernelSection, osReleaseSection, cmdlineSection, initrdSection, releaseSection, ".sbat"}

// Event is what is extended into a PCR's SHA-256 bank when an image starts.
type Event struct {
	PCR    int
	What   string // for people
	Digest [sha256.Size]byte
}

// Events are what starting an image extends, in their order: by the firmware into
// PCR 4, where others are beside these, which depend on the firmware; by the stub into
// PCR 11 and by the kernel into PCR 9, where there are no others.
func Events(image []byte) ([]Event, error) {
	events, err := events(image)
	if err != nil {
		return nil, fmt.Errorf("measuring a unified kernel image: %w", err)
	}
	return events, nil
}

func events(image []byte) ([]Event, error) {
	program, err := Program(image)
	if err != nil {
		return nil, err
	}
	i, err := pe.Parse(image)
	if err != nil {
		return nil, err
	}
	events := []Event{{4, "the image", program}}
	for _, name := range measured {
		if content, ok := i.Section(name); ok {
			events = append(events,
				Event{11, "name of " + name, sha256.Sum256([]byte(name + "\x00"))},
				Event{11, "content of " + name, sha256.Sum256(content)})
		}
	}
	c, err := Read(image)
	if err != nil {
		return nil, err
	}
	kernel, err := Program(c.Kernel)
	if err != nil {
		return nil, fmt.Errorf("its kernel: %w", err)
	}
	events = append(events, Event{4, "the kernel in it", kernel})
	return append(events, KernelEvents(c.Cmdline, c.bootInitrd())...), nil
}

// Program is the digest with which firmware extends PCR 4 before it starts a UEFI
// program.
func Program(image []byte) ([sha256.Size]byte, error) {
	i, err := pe.Parse(image)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return i.Digest()
}

// KernelEvents are what a kernel with a UEFI stub extends PCR 9 with, whoever started it
// (Linux 6.12, drivers/firmware/efi/libstub): its command line as it was given, UTF-16
// with a NUL, and its initrd.
func KernelEvents(cmdline string, initrd []byte) []Event {
	var options []byte
	for _, u := range append(utf16.Encode([]rune(cmdline)), 0) {
		options = binary.LittleEndian.AppendUint16(options, u)
	}
	return []Event{
		{9, "the command line", sha256.Sum256(options)},
		{9, "the initrd", sha256.Sum256(initrd)},
	}
}

// bootInitrd is what the stub hands to the kernel: the initrd, and behind it an archive
// with os-release in it, for the system (systemd v257, src/boot/cpio.c).
func (c Content) bootInitrd() []byte {
	const directory, file = 0o40000 | 0o555, 0o100000 | 0o444
	b := pad(c.Initrd[:len(c.Initrd):len(c.Initrd)])
	b = appendEntry(b, 1, directory, ".extra", nil)
	b = appendEntry(b, 2, file, ".extra/os-release", c.OSRelease)
	// Its end is a constant in the stub, with another case than the rest.
	return append(b, "070701"+
		"00000000"+"00000000"+"00000000"+"00000000"+"00000001"+"00000000"+"00000000"+
		"00000000"+"00000000"+"00000000"+"00000000"+"0000000B"+"00000000"+
		"TRAILER!!!\x00\x00\x00\x00"...)
}

// appendEntry appends an entry of a newc archive, as the stub writes it.
func appendEntry(b []byte, inode, mode int, name string, content []byte) []byte {
	b = fmt.Appendf(b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	return pad(append(pad(b), content...))
}

// pad fills up to a multiple of four bytes.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// Replay is the value of a PCR after its events, from zero.
func Replay(events []Event, pcr int) (value [sha256.Size]byte) {
	for _, e := range events {
		if e.PCR == pcr {
			value = sha256.Sum256(append(value[:], e.Digest[:]...))
		}
	}
	return value
}
