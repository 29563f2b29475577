package server

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// noteRefusal keeps a refusal for operators. What is no verdict on the machine is not kept: that there were too
// many requests, or that the server has failed. That it cannot be kept changes no answer.
func (s *Server) noteRefusal(ctx context.Context, d *decision) {
	switch d.code {
	case CodeConcurrent, CodeInternal, CodeIncomplete, CodeMalformed:
		return
	}
	if d.evidence == nil {
		return
	}
	v, e := d.record(s.Now())
	err := s.Registry.Refuse(ctx, v, e, d.known)
	if errors.Is(err, store.ErrFull) {
		s.Log.Debug("a refusal is not kept: there are those of too many unknown machines", "node", v.Node)
	} else if err != nil {
		s.Log.Error("keeping a refusal", "node", v.Node, "error", err)
	}
}

// record is what is kept of a decision about a machine.
func (d *decision) record(now time.Time) (store.Verdict, store.Evidence) {
	v := store.Verdict{
		Node: d.node, Time: now.UTC(), Address: addressText(d.address), Code: d.code, Reason: cut(d.reason, 2*maxText),
		Policy: d.policy, Tier: d.tier, Overlay: d.overlay, Version: d.version,
		Differs: d.compared.Differing(), Certificate: d.certificate, Claims: clip(d.evidence.Claims),
	}
	if v.Policy == "" {
		v.Policy = d.compared.Policy
	}
	return v, d.summary(v.Time)
}

// summary is the evidence, set beside the policy.
func (d *decision) summary(now time.Time) store.Evidence {
	s := store.Evidence{Time: now, Policy: d.compared.Policy}
	for _, pcr := range protocol.QuotedPCRs {
		compared, ok := d.compared.PCRs[pcr]
		p := store.PCR{
			Index: pcr, Value: d.evidence.PCRs[pcr], Events: compared.Events,
			Explained: d.evidence.Explained[pcr], Differs: ok && !compared.Holds,
		}
		for _, want := range compared.Want {
			p.Want = append(p.Want, want[:])
		}
		for _, missing := range compared.Missing {
			s.Missing = append(s.Missing, store.Event{PCR: pcr, Digest: missing.Digest[:], Text: cut(missing.What, maxWhat)})
		}
		s.PCRs = append(s.PCRs, p)
	}
	for i, e := range d.evidence.Events {
		s.Events = append(s.Events, store.Event{PCR: e.PCR, Type: e.Type, Digest: e.Digest, Text: e.Text(), Differs: d.compared.Wrong[i]})
	}
	s.Fit()
	return s
}

// maxWhat is the longest description of a missing event that is kept, in bytes.
const maxWhat = 128

// clip bounds what a machine says of itself.
func clip(c protocol.Claims) protocol.Claims {
	for _, field := range []*string{&c.Image, &c.Vendor, &c.Model, &c.Serial, &c.Hostname, &c.Boot} {
		*field = cut(*field, maxClaim)
	}
	return c
}

// maxClaim is the longest claim that is kept, in bytes.
const maxClaim = 128

// cut cuts a text to so many bytes of whole characters.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}
