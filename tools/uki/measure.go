package uki

import (
	"crypto/sha256"
	"fmt"

	"github.com/ember-os/ember/tools/uki/pe"
)

// measured are the sections that the stub measures of those that Build and Debian's
// stub have, in its order (systemd v257, src/fundamental/uki.c).
var measured = []string{kernelSection, osReleaseSection, cmdlineSection, initrdSection, releaseSection, ".sbat"}

// Event is what is extended into a PCR's SHA-256 bank when an image starts.
type Event struct {
	PCR    int
	What   string // the image, or a section's name or content, for people
	Digest [sha256.Size]byte
}

// Events are what starting an image extends: by the firmware into PCR 4, where other
// events are beside it that depend on the boot path; by the stub into PCR 11, where
// there are no others. What the kernel extends into PCR 9 is not among them.
func Events(image []byte) ([]Event, error) {
	i, err := pe.Parse(image)
	if err != nil {
		return nil, fmt.Errorf("measuring a unified kernel image: %w", err)
	}
	program, err := i.Digest()
	if err != nil {
		return nil, fmt.Errorf("measuring a unified kernel image: %w", err)
	}
	events := []Event{{4, "image", program}}
	for _, name := range measured {
		if content, ok := i.Section(name); ok {
			events = append(events,
				Event{11, "name of " + name, sha256.Sum256([]byte(name + "\x00"))},
				Event{11, "content of " + name, sha256.Sum256(content)})
		}
	}
	return events, nil
}

// Replay is the value of a PCR after its events, from zero.
func Replay(events []Event, pcr int) (value [sha256.Size]byte) {
	for _, e := range events {
		if e.PCR == pcr {
			value = sha256.Sum256(append(value[:], e.Digest[:]...))
		}
	}
	return value
}
