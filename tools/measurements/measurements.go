// Package measurements predicts what the TPM of a machine records that boots a build of
// Ember under UEFI, from what it boots: before any machine has.
//
// It knows the ways to boot of which a build knows enough. Left out is what firmware
// measures of itself and of the machine (PCRs 0 to 3 and 5 to 7), what a loader measures
// that is not the build's (GRUB of the ISO image), and whatever boots by a BIOS, which
// measures neither kernel nor initrd.
package measurements

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/tools/uki"
)

// The ways to boot.
const (
	UKI        = "uki"         // the unified kernel image, by the firmware, from wherever
	IPXE       = "ipxe"        // kernel and initrd, by iPXE with the build's script
	Direct     = "direct"      // kernel and initrd, by QEMU's firmware, which is given them
	AnyCmdline = "any-cmdline" // kernel and initrd, by iPXE with a command line of whoever serves them
)

// Content is what is booted.
type Content struct {
	Version    string // of Ember
	Kernel     []byte
	KernelName string // as it is published, and in iPXE's script
	Initrd     []byte
	InitrdName string
	UKI        []byte
	UKIName    string
	Cmdline    string // where no boot server has another
	// Loaders are UEFI programs that may run before the system does, such as the site's iPXE. Without any, it is not
	// known what else a machine runs that iPXE boots.
	Loaders [][]byte
}

// firmware is what firmware measures into PCR 4 around the programs that it starts (TCG
// PC Client Platform Firmware Profile, 3.3.4.5): that it begins to, that one has come
// back, and the end of its own part.
var firmware = policy.Digests{
	sha256.Sum256([]byte("Calling EFI Application from Boot Option")),
	sha256.Sum256([]byte("Returning from EFI Application from Boot Option")),
	sha256.Sum256(make([]byte, 4)),
}

// Predict predicts what is measured on each way.
func Predict(c Content) (*policy.Build, error) {
	build, err := predict(c)
	if err != nil {
		return nil, fmt.Errorf("predicting measurements: %w", err)
	}
	return build, nil
}

func predict(c Content) (*policy.Build, error) {
	image, err := uki.Events(c.UKI)
	if err != nil {
		return nil, err
	}
	program, err := uki.Program(c.Kernel)
	if err != nil {
		return nil, fmt.Errorf("the kernel: %w", err)
	}
	kernel := uki.Event{PCR: 4, What: "the kernel", Digest: program}
	var loaders []uki.Event
	for i, loader := range c.Loaders {
		program, err := uki.Program(loader)
		if err != nil {
			return nil, fmt.Errorf("loader %d: %w", i+1, err)
		}
		loaders = append(loaders, uki.Event{PCR: 4, What: "a loader", Digest: program})
	}
	// started is what the kernel measures that was started with such options.
	started := func(options string) []uki.Event {
		return append([]uki.Event{kernel}, uki.KernelEvents(options, c.Initrd)...)
	}
	initrd := "initrd=" + c.InitrdName
	return &policy.Build{
		Format:  policy.BuildFormat,
		Version: c.Version,
		Files: map[string]policy.Digest{
			c.KernelName: sha256.Sum256(c.Kernel), c.InitrdName: sha256.Sum256(c.Initrd), c.UKIName: sha256.Sum256(c.UKI),
		},
		Paths: []policy.Path{
			path(UKI, image, loaders, true, 9, 11),
			// iPXE makes the name of the kernel the first word.
			path(IPXE, started(c.KernelName+" "+initrd+" "+c.Cmdline), loaders, len(loaders) > 0, 9),
			// OVMF appends the last word; QEMU's firmware has the initrd under that name.
			path(Direct, started(c.Cmdline+" initrd=initrd"), loaders, true, 9),
			// Of the kernel's events the first is that of its options, which are not known.
			path(AnyCmdline, []uki.Event{kernel, uki.KernelEvents("", c.Initrd)[1]}, loaders, len(loaders) > 0),
		},
	}, nil
}

// path is a way on which these events are recorded. Whole PCRs are those that have no
// others. PCR 4 has those of the firmware, and if only is true no others but of loaders.
func path(name string, events, loaders []uki.Event, only bool, whole ...int) policy.Path {
	p := policy.Path{Name: name, PCRs: map[int]policy.Digests{}, Events: map[int]policy.Events{}}
	for _, pcr := range whole {
		p.PCRs[pcr] = policy.Digests{uki.Replay(events, pcr)}
	}
	for _, e := range events {
		p.Log = append(p.Log, policy.Measured{PCR: e.PCR, Digest: e.Digest, What: e.What})
		if slices.Contains(whole, e.PCR) {
			continue
		}
		conditions := p.Events[e.PCR]
		conditions.Require = append(conditions.Require, e.Digest)
		p.Events[e.PCR] = conditions
	}
	if programs := p.Events[4]; only {
		programs.Only = slices.Concat(programs.Require, firmware)
		for _, l := range loaders {
			programs.Only = append(programs.Only, l.Digest)
		}
		p.Events[4] = programs
	}
	return p
}
