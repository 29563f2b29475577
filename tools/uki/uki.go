// Package uki makes a unified kernel image: one UEFI program that holds a kernel,
// its initrd, its command line and its names, behind a stub that starts them. It
// follows the UAPI group's specification "Unified Kernel Image" and is made for the
// stub of systemd-boot (systemd-stub(7)).
//
// An image is a function of what it is made of. Each section is exactly as long in
// memory as the file that it holds, so what the stub measures into PCR 11 is those
// files: the digests of a release's kernel and initrd are in its event log.
package uki

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/ember-os/ember/tools/uki/pe"
)

// The sections, in the order in which they are in the image: what bootloaders read
// comes first.
const (
	osReleaseSection = ".osrel"
	cmdlineSection   = ".cmdline"
	releaseSection   = ".uname"
	initrdSection    = ".initrd"
	kernelSection    = ".linux"
)

// maxCmdline is one less than what Ember's kernel takes with the final NUL.
const maxCmdline = 4096 - 1

// Content is what an image holds. None of it may be empty.
type Content struct {
	Kernel    []byte // with a UEFI stub of its own, such as a bzImage
	Initrd    []byte
	Cmdline   string // printable ASCII
	OSRelease []byte // os-release(5), which bootloaders show
	Release   string // the kernel's, as uname -r prints it
}

// Build puts the content behind a stub.
func Build(stub []byte, c Content) ([]byte, error) {
	image, err := build(stub, c)
	if err != nil {
		return nil, fmt.Errorf("building a unified kernel image: %w", err)
	}
	return image, nil
}

func build(stub []byte, c Content) ([]byte, error) {
	base, err := pe.Parse(stub)
	if err != nil {
		return nil, fmt.Errorf("the stub: %w", err)
	}
	kernel, err := pe.Parse(c.Kernel)
	if err != nil {
		return nil, fmt.Errorf("the kernel, which needs CONFIG_EFI_STUB: %w", err)
	}
	if kernel.Machine != base.Machine {
		return nil, fmt.Errorf("the kernel is for %v, the stub for %v", kernel.Machine, base.Machine)
	}
	if err := checkCmdline(c.Cmdline); err != nil {
		return nil, err
	}
	if !bytes.Contains(c.OSRelease, []byte("ID=")) {
		return nil, errors.New("the os-release file has no ID, which bootloaders sort by")
	}
	if c.Release == "" || strings.ContainsFunc(c.Release, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("%q is not the release of a kernel", c.Release)
	}
	return base.AddSections(
		pe.Content{Name: osReleaseSection, Data: c.OSRelease},
		pe.Content{Name: cmdlineSection, Data: []byte(c.Cmdline)},
		pe.Content{Name: releaseSection, Data: []byte(c.Release)},
		pe.Content{Name: initrdSection, Data: c.Initrd},
		pe.Content{Name: kernelSection, Data: c.Kernel},
	)
}

func checkCmdline(line string) error {
	switch {
	case strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }):
		return fmt.Errorf("the command line %q is not one line of printable ASCII", line)
	case strings.TrimSpace(line) != line:
		return fmt.Errorf("the command line %q begins or ends with a space", line)
	case len(line) > maxCmdline:
		return fmt.Errorf("the command line has %d bytes; the kernel takes %d", len(line), maxCmdline)
	}
	return nil
}

// Read is what an image holds. The byte slices are parts of it.
func Read(image []byte) (Content, error) {
	i, err := pe.Parse(image)
	if err != nil {
		return Content{}, fmt.Errorf("reading a unified kernel image: %w", err)
	}
	var missing error
	section := func(name string) []byte {
		data, ok := i.Section(name)
		if !ok {
			missing = errors.Join(missing, fmt.Errorf("reading a unified kernel image: it has no section %s", name))
		}
		return data
	}
	c := Content{
		Kernel:    section(kernelSection),
		Initrd:    section(initrdSection),
		Cmdline:   string(section(cmdlineSection)),
		OSRelease: section(osReleaseSection),
		Release:   string(section(releaseSection)),
	}
	return c, missing
}
