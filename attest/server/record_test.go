package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

// What is kept of each kind of refusal of a real TPM, set beside the policy.
func TestRecordOfRefusal(t *testing.T) {
	m := boot(t, "real")
	l := startReal(t, m.rules(t))
	ctx := t.Context()

	l.trust(t, fmt.Sprintf("- {name: p, tiers: [attested], pcrs: {7: %064x}, events: {4: {only: %064x}}}", 1, 2), true)
	a, _, _ := l.exchange(t, m, nil)
	l.wantRefused(t, a, 403, policy.CodePCR)
	s, err := l.registry.Summary(ctx, m.Node())
	if err != nil {
		t.Fatal(err)
	}
	if v := s.Refused; v.Code != policy.CodePCR || v.Policy != "p" || v.Reason == "" || !slices.Equal(v.Differs, []int{4, 7}) || v.Claims.Image != "v1" || s.Proof != nil {
		t.Errorf("%+v", v)
	}
	e, err := l.registry.RefusalEvidence(ctx, m.Node())
	if err != nil {
		t.Fatal(err)
	}
	if len(e.PCRs) != len(protocol.QuotedPCRs) || !e.PCRs[7].Differs || len(e.PCRs[7].Want) != 1 || e.PCRs[0].Differs || !e.PCRs[4].Events {
		t.Errorf("%+v", e.PCRs)
	}
	first := slices.IndexFunc(e.Events, func(e store.Event) bool { return e.Differs })
	if len(e.Events) == 0 || first < 0 || e.Events[first].PCR != 4 {
		t.Errorf("the first event that differs is %d of %+v", first, e.Events)
	}

	l.trust(t, anyPolicy, false)
	a, _, _ = l.exchange(t, m, nil)
	l.wantRefused(t, a, 403, CodeQueued)
	if s, err := l.registry.Summary(ctx, m.Node()); err != nil || s.Refused.Code != CodeQueued || s.Waiting == nil {
		t.Errorf("one that waits: %+v, %v", s, err)
	}

	l.trust(t, anyPolicy, true)
	if err := tpm.Cap(m.tpm); err != nil {
		t.Fatal(err)
	}
	a, _, _ = l.exchange(t, m, nil)
	l.wantRefused(t, a, 403, verify.Capped)
	if s, err := l.registry.Summary(ctx, m.Node()); err != nil || s.Refused.Code != verify.Capped || s.Refused.Claims.Image != "v1" {
		t.Errorf("a boot that is over: %+v, %v", s, err)
	}
}

// What is no verdict on a machine leaves no record.
func TestNoRecord(t *testing.T) {
	l := start(t, anyPolicy, func(c *Config) { c.Limits.MachinePerMinute = 1 })
	m := newMachine(t, "a")
	m.late = func(r *protocol.Request) { r.Quote.Attest = nil }
	l.attest(t, m)
	if _, err := l.registry.Summary(t.Context(), m.node()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after a quote that is wrong: %v", err)
	}
	m.late = nil
	l.grant(t, m)
	l.wantRefused(t, l.attest(t, m), 429, CodeRateMachine)
	if s, err := l.registry.Summary(t.Context(), m.node()); err != nil || s.Refused != nil || s.Granted == nil || s.Proof != nil {
		t.Errorf("after one request too many: %+v, %v", s, err)
	}
}

// A machine whose log has as much as there can be still gets a receipt that its report may have.
func TestReceiptSize(t *testing.T) {
	r, err := newReceipts(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	e := &verify.Evidence{PCRs: map[int][]byte{}}
	for i := range 1000 {
		e.Events = append(e.Events, verify.Event{PCR: i % 16, Type: 0x0d, Digest: make([]byte, 32), Data: bytes.Repeat([]byte("<"), 300)})
	}
	for _, pcr := range protocol.QuotedPCRs {
		e.PCRs[pcr] = make([]byte, 32)
	}
	d := &decision{node: strings.Repeat("a", 64), evidence: e}
	sealed, err := r.seal(d.record(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(protocol.Report{Version: 1, Receipt: sealed})
	if err == nil {
		_, err = protocol.DecodeReport(b)
	}
	if err != nil {
		t.Error(err)
	}
	if opened, err := r.open(sealed, d.node, ""); err != nil || len(opened.Evidence.Events) == 0 || opened.Evidence.Omitted == 0 {
		t.Errorf("%d events, %v", len(opened.Evidence.Events), err)
	}
}

func TestReceipts(t *testing.T) {
	r, err := newReceipts(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	v := store.Verdict{Node: "n", Certificate: "1", Code: store.Granted}
	sealed, err := r.seal(v, store.Evidence{Policy: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := r.open(sealed, "n", "1"); err != nil || opened.Verdict.Code != store.Granted || opened.Evidence.Policy != "p" {
		t.Errorf("%+v, %v", opened, err)
	}
	other, _ := newReceipts([]byte("another key of thirty-two bytes!"))
	for name, open := range map[string]func() (receipt, error){
		"of another certificate": func() (receipt, error) { return r.open(sealed, "n", "2") },
		"of another machine":     func() (receipt, error) { return r.open(sealed, "m", "1") },
		"of another server":      func() (receipt, error) { return other.open(sealed, "n", "1") },
		"cut":                    func() (receipt, error) { return r.open(sealed[:len(sealed)-1], "n", "1") },
		"empty":                  func() (receipt, error) { return r.open(nil, "n", "1") },
	} {
		if _, err := open(); refused(err).code != CodeReceipt {
			t.Errorf("%s: %v", name, err)
		}
	}
}
