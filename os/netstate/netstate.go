// Package netstate is what the network daemon tells the rest of the system: a file
// that it replaces atomically whenever something changes.
package netstate

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
)

// Path is the file.
const Path = "/run/ember/network.json"

// State is the network as it is now.
type State struct {
	// Settled says that the daemon has the network it looked for, or has given up
	// waiting and goes on looking.
	Settled bool
	// Online says that the chosen link has an address and a default route, or an
	// address if the command line gives it none.
	Online bool
	Link   string // the link that was chosen, by name; "" while there is none

	Hostname string       `json:",omitempty"`
	Domain   string       `json:",omitempty"`
	Search   []string     `json:",omitempty"`
	DNS      []netip.Addr `json:",omitempty"`
	NTP      []string     `json:",omitempty"` // addresses or names, best first
	Links    []Link       `json:",omitempty"`
}

// Link is a network interface that the daemon looks after.
type Link struct {
	Name      string
	MAC       string
	Kind      string `json:",omitempty"` // "bond" or "vlan"; "" for hardware
	Driver    string `json:",omitempty"`
	Carrier   bool
	SpeedMbit int       `json:",omitempty"` // 0 if not known
	MTU       int       `json:",omitempty"`
	Master    string    `json:",omitempty"` // the bond that it is part of
	Addresses []Address `json:",omitempty"`
	Note      string    `json:",omitempty"` // what it waits for or why it was not chosen, for people
}

// Source is where an address comes from.
type Source string

// The sources.
const (
	Static Source = "static"
	DHCP4  Source = "dhcp4"
	DHCP6  Source = "dhcp6"
	SLAAC  Source = "slaac"
)

// Address is an address of a link.
type Address struct {
	Prefix  netip.Prefix // the address with the length of its network's prefix
	Gateway netip.Addr   `json:",omitzero"`
	Source  Source
	Server  netip.Addr `json:",omitzero"` // the DHCP server
	// Expires is when the lease ends, since kernel start, for the clock may yet be
	// set; never if 0.
	Expires time.Duration `json:",omitzero"`
}

// Read reads the file at path. Before the daemon has written it the state is zero.
func Read(path string) (State, error) {
	s, err := jsonfile.Read[State](path)
	if err != nil {
		return s, fmt.Errorf("reading the network's state: %w", err)
	}
	return s, nil
}

// Write replaces the file at path.
func (s State) Write(path string) error {
	if err := jsonfile.Write(path, s, 0o644); err != nil {
		return fmt.Errorf("writing the network's state: %w", err)
	}
	return nil
}
