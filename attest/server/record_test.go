package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/page"
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

// A build that a machine was to have booted tells which of the machine's events is another one, to operators and on
// the status page. It need not have proved anything before.
func TestRecordOfMeasurements(t *testing.T) {
	m := boot(t, "real")
	l := startReal(t, anyPolicy)
	build := &policy.Build{Format: policy.BuildFormat, Paths: []policy.Path{{Name: "uki"}}}
	way := &build.Paths[0]
	var value [sha256.Size]byte
	other := -1
	for i, e := range m.events {
		if e.PCR != 9 {
			continue
		}
		digest := sha256.Sum256(e.Data)
		if len(way.Log) == 3 {
			digest, other = sha256.Sum256([]byte("quiet")), i
		}
		way.Log = append(way.Log, policy.Measured{PCR: 9, Digest: digest, What: fmt.Sprintf("part %d", len(way.Log))})
		value = sha256.Sum256(append(value[:], digest[:]...))
	}
	way.PCRs = map[int]policy.Digests{9: {value}}
	policies, err := policy.Expand([]policy.Policy{{
		Name: "p", Tiers: []protocol.Tier{protocol.Attested}, Measurements: policy.Measurements{Files: []string{"1.json"}, Paths: []string{"uki"}},
	}}, func(string) ([]byte, error) { return build.JSON() })
	if err != nil {
		t.Fatal(err)
	}
	s := &Settings{Roots: attesttest.Roots(t)}
	if s.Policies, err = policy.New(policies); err != nil {
		t.Fatal(err)
	}
	l.Replace(s)
	a, _, _ := l.exchange(t, m, nil)
	l.wantRefused(t, a, 403, policy.CodePCR)
	e, err := l.registry.RefusalEvidence(t.Context(), m.Node())
	if err != nil {
		t.Fatal(err)
	}
	for i, event := range e.Events {
		if event.Differs != (i == other) {
			t.Errorf("event %d: %+v", i, event)
		}
	}
	if len(e.Missing) != 1 || e.Missing[0].Text != "part 3" || e.Missing[0].PCR != 9 {
		t.Errorf("missing: %+v", e.Missing)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/machines/"+m.Node(), nil)
	r.Host = "127.0.0.1:8080"
	page.New(page.Config{Registry: l.registry, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(w, r)
	for _, want := range []string{"The first event that differs", fmt.Sprintf("Event %d, PCR 9", other+1), "PCR 9: part 3"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page, status %d, does not have %q", w.Code, want)
		}
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
