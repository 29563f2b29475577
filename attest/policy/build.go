package policy

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/ember-os/ember/attest/protocol"
)

// BuildFormat is the format of files with a Build. Another number is one that is not understood.
const BuildFormat = 1

// maxBuild is many times the size of such a file, in bytes.
const maxBuild = 1 << 20

// Build is what machines measure that boot a build of Ember. The build itself writes it, as //os:measurements.
type Build struct {
	Format  int    `json:"format"`
	Version string `json:"version"` // of Ember, for people
	// Files are the SHA-256 of what is booted, by their published names, for people and programs.
	Files map[string]Digest `json:"files"`
	Paths []Path            `json:"paths"`
}

// Path is what is measured on one of the ways in which a build is booted.
type Path struct {
	Name string `json:"name"`
	// PCRs and Events are the conditions of a policy for such machines.
	PCRs   map[int]Digests `json:"pcrs,omitempty"`
	Events map[int]Events  `json:"events,omitempty"`
	// Log is the events that were predicted, in their order. The firmware has others beside them.
	Log []Measured `json:"log"`
}

// Measured is an event.
type Measured struct {
	PCR    int    `json:"pcr"`
	Digest Digest `json:"digest"`
	What   string `json:"what"` // for people
}

// MarshalText implements encoding.TextMarshaler, for JSON.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler, for JSON.
func (d *Digest) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(d) {
		return fmt.Errorf("%q is not a SHA-256, 64 digits of hex", text)
	}
	*d = Digest(b)
	return nil
}

// UnmarshalJSON implements json.Unmarshaler. As in YAML, an empty list is none that was meant.
func (ds *Digests) UnmarshalJSON(b []byte) error {
	var list []Digest
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("a list of digests is empty")
	}
	*ds = list
	return nil
}

// ParseBuild reads a Build strictly: a condition that is not understood is not one that holds.
func ParseBuild(b []byte) (*Build, error) {
	build, err := parseBuild(b)
	if err != nil {
		return nil, fmt.Errorf("reading measurements: %w", err)
	}
	return build, nil
}

func parseBuild(b []byte) (*Build, error) {
	if len(b) > maxBuild {
		return nil, fmt.Errorf("they have more than %d bytes", maxBuild)
	}
	var format struct{ Format int }
	if err := json.Unmarshal(b, &format); err != nil {
		return nil, err
	}
	if format.Format != BuildFormat {
		return nil, fmt.Errorf("they are of format %d, not %d: of another version of Ember, or no measurements", format.Format, BuildFormat)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var build Build
	if err := d.Decode(&build); err != nil {
		return nil, err
	}
	return &build, build.check()
}

func (b *Build) check() error {
	if len(b.Paths) == 0 {
		return errors.New("they are of no way to boot")
	}
	names := make(map[string]bool)
	for _, p := range b.Paths {
		switch {
		case p.Name == "" || names[p.Name]:
			return fmt.Errorf("the name %q is missing or there twice", p.Name)
		case len(p.PCRs) == 0 && len(p.Events) == 0:
			return fmt.Errorf("%s has no condition", p.Name)
		}
		names[p.Name] = true
		conditions := Policy{Tiers: []protocol.Tier{protocol.Attested}, PCRs: p.PCRs, Events: p.Events}
		if err := conditions.check(); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// path finds a way to boot.
func (b *Build) path(name string) (Path, error) {
	var names []string
	for _, p := range b.Paths {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Path{}, fmt.Errorf("there is no way to boot called %q, only %s", name, strings.Join(names, ", "))
}

// Measurements are the condition that a machine has booted one of several builds in one of several ways.
type Measurements struct {
	// Files have a Build each, as JSON.
	Files []string `yaml:"files"`
	// Paths are names of ways to boot that all of them know.
	Paths []string `yaml:"paths"`
}

func (m Measurements) given() bool { return len(m.Files) > 0 || len(m.Paths) > 0 }

func (m Measurements) check() error {
	switch {
	case !m.given():
		return nil
	case len(m.Files) == 0:
		return errors.New("measurements: files is missing")
	case len(m.Paths) == 0:
		return errors.New("measurements: paths is missing: in which ways machines may have booted, such as uki")
	}
	return nil
}

// Expand puts in the place of each policy with Measurements one for each file and way to boot, named
// POLICY/FILE/PATH, in their order, with the conditions of both. Read gives a file.
func Expand(policies []Policy, read func(file string) ([]byte, error)) ([]Policy, error) {
	var expanded []Policy
	for _, p := range policies {
		if !p.Measurements.given() {
			expanded = append(expanded, p)
			continue
		}
		if err := p.Measurements.check(); err != nil {
			return nil, fmt.Errorf("policy %q: %w", p.Name, err)
		}
		for _, file := range p.Measurements.Files {
			all, err := p.expand(file, read)
			if err != nil {
				return nil, fmt.Errorf("policy %q: measurements %s: %w", p.Name, file, err)
			}
			expanded = append(expanded, all...)
		}
	}
	return expanded, nil
}

func (p *Policy) expand(file string, read func(string) ([]byte, error)) ([]Policy, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	build, err := ParseBuild(text)
	if err != nil {
		return nil, err
	}
	var expanded []Policy
	for _, name := range p.Measurements.Paths {
		way, err := build.path(name)
		if err != nil {
			return nil, err
		}
		one := *p
		one.Measurements, one.log = Measurements{}, way.Log
		one.Name = path.Join(p.Name, strings.TrimSuffix(path.Base(file), ".json"), name)
		if one.PCRs, err = both(p.PCRs, way.PCRs); err != nil {
			return nil, err
		}
		if one.Events, err = both(p.Events, way.Events); err != nil {
			return nil, err
		}
		expanded = append(expanded, one)
	}
	return expanded, nil
}

// both has the conditions of two, which may not be on the same PCR: which of them counts?
func both[C any](one, other map[int]C) (map[int]C, error) {
	all := make(map[int]C)
	for _, conditions := range []map[int]C{one, other} {
		for pcr, c := range conditions {
			if _, twice := all[pcr]; twice {
				return nil, fmt.Errorf("the policy has a condition of its own on PCR %d", pcr)
			}
			all[pcr] = c
		}
	}
	return all, nil
}

// JSON is the text of a file with it.
func (b *Build) JSON() ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("writing measurements: %w", err)
	}
	text, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing measurements: %w", err)
	}
	return append(text, '\n'), nil
}
