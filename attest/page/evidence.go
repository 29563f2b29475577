package page

import (
	"bytes"
	"encoding/hex"
	"time"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

// uses say what is measured into a PCR (TCG PC Client Platform Firmware Profile, 2.3.4; 8 to 15 by GRUB, Linux
// and systemd's stub; docs/boot-paths.md).
var uses = map[int]string{
	0: "firmware", 1: "firmware settings", 2: "option ROMs", 3: "their settings", 4: "boot loader, kernel",
	5: "its settings, partitions", 6: "of the vendor", 7: "Secure Boot", 8: "GRUB’s commands", 9: "command line, initrd",
	11: "unified kernel image; the end of attestation", 12: "its command line", 13: "its extensions", 14: "shim",
}

// evidenceView is what a verdict was made of.
type evidenceView struct {
	Kind    string // "proof" or "refusal"
	Time    time.Time
	Policy  string
	Judged  []pcrView // those that the policy says something of
	Others  []pcrView
	Events  []eventView
	Missing []eventView
	Omitted int
	// Excerpt are the events around the first that differs, nil if none does.
	Excerpt []eventView
	First   *eventView
	// Since says that First is compared with what the machine proved before, not with the policy.
	Since   bool
	Differs int // PCRs
}

type pcrView struct {
	Index                             int
	Use                               string
	Value                             string // hex
	Bars                              []bar
	Want                              []wantView
	Events, Explained, Differs, Bound bool // Bound: the policy says something of it
	Zero                              bool
}

// wantView is a value that the policy allows.
type wantView struct {
	Value string
	Bars  []bar
}

type eventView struct {
	Number  int // in the log, from 1 on
	PCR     int
	Type    string
	Digest  string
	Text    string
	Differs bool
	First   bool
}

// bar is a byte of a digest, drawn as a line: what differs is seen at a glance.
type bar struct{ X, Y, H int }

// barHeight is that of a byte of 255.
const barHeight = 24

func bars(digest []byte) []bar {
	var all []bar
	for i, b := range digest {
		h := 2 + int(b)*(barHeight-2)/255
		all = append(all, bar{X: 5 * i, Y: barHeight - h, H: h})
	}
	return all
}

// around is how many events before and after the first that differs are in the excerpt.
const around = 2

func newEvidence(kind string, e *store.Evidence, proved *store.Evidence) evidenceView {
	v := evidenceView{Kind: kind, Time: e.Time, Policy: e.Policy, Omitted: e.Omitted}
	for _, p := range e.PCRs {
		view := pcrView{
			Index: p.Index, Use: uses[p.Index], Value: hex.EncodeToString(p.Value), Bars: bars(p.Value), Events: p.Events,
			Explained: p.Explained, Differs: p.Differs, Bound: p.Events || len(p.Want) > 0,
			Zero: bytes.Equal(p.Value, make([]byte, len(p.Value))),
		}
		if p.Differs {
			v.Differs++
		}
		for _, want := range p.Want {
			view.Want = append(view.Want, wantView{hex.EncodeToString(want), bars(want)})
		}
		if view.Bound {
			v.Judged = append(v.Judged, view)
		} else {
			v.Others = append(v.Others, view)
		}
	}
	first := -1
	for i, event := range e.Events {
		view := newEvent(event)
		view.Number = i + 1
		if event.Differs && first < 0 {
			first = i
		}
		v.Events = append(v.Events, view)
	}
	for _, event := range e.Missing {
		v.Missing = append(v.Missing, newEvent(event))
	}
	if first < 0 && proved != nil {
		first = changed(e, proved)
		v.Since = first >= 0
	}
	if first >= 0 {
		v.Events[first].First, v.Events[first].Differs = true, true
		v.First = &v.Events[first]
		v.Excerpt = v.Events[max(first-around, 0):min(first+around+1, len(v.Events))]
	}
	return v
}

func newEvent(e store.Event) eventView {
	return eventView{PCR: e.PCR, Type: verify.TypeName(e.Type), Digest: hex.EncodeToString(e.Digest), Text: e.Text, Differs: e.Differs}
}

// changed is the first event, in the order of the log, at which a PCR that differs has another one than it had
// when the machine last proved what it is; -1 if there is none, or a log is not whole.
func changed(now, before *store.Evidence) int {
	if now.Omitted > 0 || before.Omitted > 0 {
		return -1
	}
	differs := make(map[int]bool)
	for _, p := range now.PCRs {
		differs[p.Index] = p.Differs
	}
	old := make(map[int][][]byte)
	for _, e := range before.Events {
		old[e.PCR] = append(old[e.PCR], e.Digest)
	}
	for i, e := range now.Events {
		if !differs[e.PCR] {
			continue
		}
		if len(old[e.PCR]) == 0 || !bytes.Equal(old[e.PCR][0], e.Digest) {
			return i
		}
		old[e.PCR] = old[e.PCR][1:]
	}
	return -1
}
