// Package machine is how a boot becomes a healthy node, or ends in another boot: one state machine,
//
//	netboot → attest → fetch → apply → start → healthy → commit → kept
//
// that gets events and gives actions, and does nothing itself. It is the same for a boot from the network and for
// one of the last-known-good system from the disk.
//
// A failure is a wait and a reboot into the network, where something better may be served by now; each failure since
// the last success doubles the wait. No answer is no failure: a boot from the network, or from a slot that is not the
// good one, goes to the last-known-good system then, and that one takes the configuration it has kept. If a node does
// not become healthy with that, it stays, whatever is not well, until a server answers: without one there is nothing
// better to boot, and nodes that wait for each other, or for a network, would only begin anew. A boot from the network
// that has nothing else to boot asks on for a while, and then fails: what it was booted with may be what is wrong.
//
// A refusal by a server that proved to be the right one is never taken for no answer: nothing that was kept is used
// after it. Whoever can cut the network can have a machine boot what it booted last, and nothing else.
package machine

import (
	"math"
	"strconv"
	"time"

	"github.com/ember-os/ember/os/stage"
)

// Phase is where a boot is.
type Phase string

// The phases, in their order.
const (
	Netboot Phase = "netboot" // waits for a network
	Attest  Phase = "attest"  // asks the server
	Fetch   Phase = "fetch"   // gets the configuration, or opens the one that was kept
	Apply   Phase = "apply"   // puts it into the root
	Start   Phase = "start"   // starts services, until the node is healthy
	Healthy Phase = "healthy" // stays so for a while
	Commit  Phase = "commit"  // keeps what booted it
	Kept    Phase = "kept"    // for the rest of the boot
	Waiting Phase = "waiting" // before a reboot
	Leaving Phase = "leaving" // the machine stops
)

// Event is what happened.
type Event int

// The events.
const (
	Done     Event = iota // what was begun last is done; of Start: the node is healthy
	NoAnswer              // the server gives none that counts, and its budget of tries is used up
	Denied                // the server, which is the right one, refuses this machine
	Broken                // what was begun failed; of Healthy and Kept: the node is not healthy any more
	Late                  // the limit of the last Begin that had one is over
	Elapsed               // a wait is over
	Answer                // a probe found that the server answers
	Stop                  // somebody else has the machine stop
)

// Source is where a system came from.
type Source string

// The sources.
const (
	Network Source = "network"
	Disk    Source = "disk" // the last-known-good system
)

// Means are the ways to boot the last-known-good system: none if there is no good slot, or it is what runs.
type Means struct {
	Next  bool // by the firmware: the EFI variable BootNext can be set, and was not ignored when it was last
	Kexec bool
}

// Boot is what is known when a boot begins.
type Boot struct {
	From     Source
	Failures uint32 // boots since the last success: state.Record.Failures
	Means    Means
	Jitter   float64 // from 0 to 1, by chance
	Limits   Limits
}

// Limits are the times that things may take.
type Limits struct {
	Network, Attest, Fetch, Apply, Start time.Duration
	Disk                                 time.Duration // instead of Network and Attest each, for a system from the disk
	Ask                                  time.Duration // how long nobody may answer a system from the network that has nothing else to boot
	Hold                                 time.Duration // for which a node must be healthy
	Backoff, MaxBackoff                  time.Duration // after a failure, give or take a fifth
	Probe                                time.Duration // between two looks whether a server is back
}

// DefaultLimits are for machines.
var DefaultLimits = Limits{
	Network: 2 * time.Minute, Attest: 3 * time.Minute, Fetch: 15 * time.Minute, Apply: 5 * time.Minute, Start: 15 * time.Minute,
	Disk: 20 * time.Second, Ask: 15 * time.Minute, Hold: 30 * time.Second,
	Backoff: 15 * time.Second, MaxBackoff: 15 * time.Minute, Probe: time.Minute,
}

// Verb is what an action does.
type Verb string

// The verbs.
const (
	Begin  Verb = "begin"  // the work of the phase; gives Done, NoAnswer, Denied or Broken. After Limit there is Late; without there is none, but that of Start goes on until Commit
	Wait   Verb = "wait"   // gives Elapsed after Limit, unless another Wait or Begin comes before
	Probe  Verb = "probe"  // asks every Limit whether the server answers, for the rest of the boot; gives Answer each time it does
	Reboot Verb = "reboot" // into the network, or what else the boot order begins with, after a failure
	Return Verb = "return" // the same, in good order
	Next   Verb = "next"   // reboots into the last-known-good system by BootNext; gives Broken if that can not be set
	Kexec  Verb = "kexec"  // does so without the firmware; gives Broken if that fails
	Report Verb = "report" // tells people what is wrong
)

// Action is what is to be done.
type Action struct {
	Verb  Verb
	Kept  bool // of Begin Fetch: the configuration that was kept is taken
	Limit time.Duration
}

// Machine is the state. It is a value: Next gives another one.
type Machine struct {
	Phase Phase
	Kept  bool // runs, or will, with the configuration that was kept

	boot   Boot
	asked  time.Duration // without an answer, and with nothing else to boot
	late   bool          // the limit of Start is over
	probes bool          // asks whether a server answers
	leaves Verb          // how Waiting ends
}

// New begins a boot.
func New(b Boot) (Machine, []Action) {
	return Machine{boot: b}.enter(Netboot)
}

// Stage are the fields of the stage line that tells of a transition to the phase that the machine is in.
func (m Machine) Stage(why string) []stage.Field {
	fields := []stage.Field{{Key: "phase", Value: string(m.Phase)}, {Key: "from", Value: string(m.boot.From)}}
	if m.Kept {
		fields = append(fields, stage.Field{Key: "overlay", Value: "kept"})
	}
	if m.boot.Failures > 1 {
		fields = append(fields, stage.Field{Key: "attempt", Value: strconv.FormatUint(uint64(m.boot.Failures), 10)})
	}
	if why != "" {
		fields = append(fields, stage.Field{Key: "why", Value: why})
	}
	return fields
}

// backoff is Backoff × 2^Failures, at most MaxBackoff, give or take a fifth.
func (m Machine) backoff() time.Duration {
	l := m.boot.Limits
	d := math.Min(math.Ldexp(float64(l.Backoff), int(min(m.boot.Failures, 64))), float64(l.MaxBackoff))
	return time.Duration(d * (0.8 + 0.4*m.boot.Jitter))
}

// limit is that of a phase.
func (m Machine) limit() time.Duration {
	l := m.boot.Limits
	switch {
	case m.boot.From == Disk && (m.Phase == Netboot || m.Phase == Attest):
		return l.Disk
	case m.Phase == Netboot:
		return l.Network
	case m.Phase == Attest:
		return l.Attest
	case m.Phase == Fetch:
		return l.Fetch
	case m.Phase == Apply:
		return l.Apply
	case m.Phase == Start:
		return l.Start
	}
	return 0
}
