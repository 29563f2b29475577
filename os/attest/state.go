package attest

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/jsonfile"
)

// Run is the directory of what the rest of the machine may know of the attestation; it is in memory.
const Run = "/run/ember/attest"

// Its files.
const (
	StateFile       = "state.json"      // State
	CertificateFile = "certificate.pem" // of the machine, and those above it, whose key has ended with the session
)

// Phase is how far the machine is.
type Phase string

// The phases. What is after Committing does not begin anew in this boot.
const (
	Trying     Phase = "trying"
	Committing Phase = "committing" // the overlay is being written to the root
	Applied    Phase = "applied"    // it is there
	Capped     Phase = "capped"     // and nothing later can attest as this boot
	NoTPM      Phase = "no-tpm"     // the machine can not attest
)

// State is what is known.
type State struct {
	Phase   Phase
	Server  string
	Node    string        `json:",omitempty"` // the machine's name
	Tier    protocol.Tier `json:",omitempty"`
	Overlay uint64        `json:",omitempty"` // the version of the overlay; 0 for none
	Time    time.Time     `json:",omitzero"`  // when the server let the machine in, by its clock
	Expires time.Time     `json:",omitzero"`  // the certificate's end
	Why     string        `json:",omitempty"` // why it is not further, for people
}

// ReadState reads the state in a directory; it is zero where nothing attests.
func ReadState(dir string) (State, error) {
	s, err := jsonfile.Read[State](filepath.Join(dir, StateFile))
	if err != nil {
		return s, fmt.Errorf("reading the state of the attestation: %w", err)
	}
	return s, nil
}

func (s State) write(dir string) error {
	if err := jsonfile.Write(filepath.Join(dir, StateFile), s, 0o644); err != nil {
		return fmt.Errorf("writing the state of the attestation: %w", err)
	}
	return nil
}
