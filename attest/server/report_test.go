package server

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// reportOn sends a report over a client's connection.
func reportOn(t *testing.T, client *http.Client, report protocol.Report) answer {
	t.Helper()
	b, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Post("https://example.com"+protocol.ReportPath, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if a.status != http.StatusNoContent {
		if err := json.NewDecoder(resp.Body).Decode(&a.problem); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// wantReport checks both sides of a report, which is refused if there is a code.
func (l *lab) wantReport(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.problem.Code != code {
		t.Errorf("status %d, %+v; want %d, %q", a.status, a.problem, status, code)
	}
	r := l.last(t)
	if r.Msg != "report" || r.Code != code || (r.Decision == string(Refuse)) != (code != "") || (r.Reason == "") != (code == "") {
		t.Errorf("the audit log has %+v, want %q", r, code)
	}
	if r.Address == "" || (r.Node == "" || r.Certificate == "") != (code == CodeNoCertificate || code == CodeRateAddress) {
		t.Errorf("the audit log has %+v", r)
	}
}

// A real TPM opens its grant, and its report is the proof of that.
func TestReport(t *testing.T) {
	m := boot(t, "real")
	l := startReal(t, "- {name: all, tiers: [attested]}")
	ctx := t.Context()
	a, binding, anonymous := l.exchange(t, m, nil)
	g, err := m.open(a, binding)
	if err != nil {
		t.Fatal(err)
	}
	response, err := protocol.DecodeResponse(a.body)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := l.registry.Summary(ctx, m.Node()); err != nil || s.Proof != nil || s.Granted == nil {
		t.Fatalf("before the report: %+v, %v", s, err)
	}
	report := protocol.Report{
		Version: protocol.Version, Stages: []string{"ember: stage=start t=0.100", "ember: stage=boot t=0.900 phase=attest from=network", "ember: stage=attest t=4.000"},
		Status: json.RawMessage(`{"Version":"0.1.0"}`), Health: protocol.Health{State: "starting"},
	}
	client, _ := l.dial(t, tls.Certificate{Certificate: g.Certificates, PrivateKey: m.Signer()})
	l.wantReport(t, reportOn(t, client, report), 403, CodeReceipt)
	report.Receipt = response.Receipt
	l.wantReport(t, reportOn(t, anonymous, report), 403, CodeNoCertificate)
	l.wantReport(t, reportOn(t, client, report), 204, "")
	if r := l.last(t); r.Msg != "report" || r.Node != m.Node() {
		t.Errorf("audit %+v", r)
	}
	l.pass(20 * time.Minute) // the certificate has ended, the connection has not
	report.Receipt, report.Health.State = nil, "healthy"
	report.Stages = append(report.Stages, "ember: stage=ready t=2.000")
	l.wantReport(t, reportOn(t, client, report), 204, "")

	s, err := l.registry.Summary(ctx, m.Node())
	if err != nil || s.Granted != nil || s.Refused != nil {
		t.Fatalf("after the report: %+v, %v", s, err)
	}
	if p := s.Proof; p.Code != store.Granted || p.Stage != "attest" || p.Since != 4*time.Second || p.Health != "healthy" || p.Claims.Boot != "network" || p.Claims.Image != "v1" {
		t.Errorf("proof %+v", p)
	}
	if e, err := l.registry.ProofEvidence(ctx, m.Node()); err != nil || len(e.Events) == 0 || len(e.PCRs) != 16 || len(e.PCRs[7].Value) != 32 {
		t.Errorf("evidence %+v, %v", e, err)
	}
	if list, err := l.registry.Reports(ctx, m.Node()); err != nil || len(list) != 1 || !slices.Equal(list[0].Stages, report.Stages) || string(list[0].Status) != `{"Version":"0.1.0"}` {
		t.Errorf("reports %+v, %v", list, err)
	}

	report.Health.State = "NOT WELL"
	l.wantReport(t, reportOn(t, client, report), 400, CodeMalformed)
	report.Health.State = ""
	if err := l.registry.Revoke(ctx, m.Node(), "", "ann"); err != nil {
		t.Fatal(err)
	}
	l.wantReport(t, reportOn(t, client, report), 403, CodeRevoked)
}

// A grant in a machine's name that somebody else has asked for proves nothing, whatever he does with the receipt.
func TestReceiptOfAnother(t *testing.T) {
	m, thief := boot(t, "real"), boot(t, "other")
	l := startReal(t, "- {name: all, tiers: [attested]}")
	a, binding, _ := l.exchange(t, thief, nil)
	g, err := thief.open(a, binding)
	if err != nil {
		t.Fatal(err)
	}
	b, _, _ := l.exchange(t, m, nil)
	theirs, err := protocol.DecodeResponse(b.body)
	if err != nil {
		t.Fatal(err)
	}
	client, _ := l.dial(t, tls.Certificate{Certificate: g.Certificates, PrivateKey: thief.Signer()})
	l.wantReport(t, reportOn(t, client, protocol.Report{Version: 1, Receipt: theirs.Receipt}), 403, CodeReceipt)
	for _, node := range []string{m.Node(), thief.Node()} {
		if _, err := l.registry.ProofEvidence(t.Context(), node); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s has a proof: %v", node, err)
		}
	}
}

func TestReportLimits(t *testing.T) {
	l := start(t, anyPolicy)
	m := newMachine(t, "a")
	client, nonce := l.dial(t)
	r := m.request(t, nonce)
	a := l.post(t, client, encode(t, r))
	g := m.open(t, r.Binding(nonce), a)
	response, _ := protocol.DecodeResponse(a.body)
	client, _ = l.dial(t, tls.Certificate{Certificate: g.Certificates, PrivateKey: m.key})
	large := protocol.Report{Version: 1, Receipt: make([]byte, protocol.MaxReport)}
	other, _ := l.dial(t, tls.Certificate{Certificate: g.Certificates, PrivateKey: m.key})
	l.wantReport(t, reportOn(t, other, large), 413, CodeTooLarge)
	for range reportsPerMinute - 1 {
		l.wantReport(t, reportOn(t, client, protocol.Report{Version: 1, Receipt: response.Receipt}), 204, "")
	}
	limited := protocol.Report{Version: 1}
	l.wantReport(t, reportOn(t, client, limited), 429, CodeRateMachine)
	lines := len(l.records(t))
	if a := reportOn(t, client, limited); a.status != 429 || len(l.records(t)) != lines { // one line for all in a row
		t.Errorf("status %d, with %d lines more", a.status, len(l.records(t))-lines)
	}
}

func TestReportsOfAnAddress(t *testing.T) {
	count := &reported{}
	l := start(t, anyPolicy, func(c *Config) { c.Limits.AddressPerMinute, c.Counters = 1, count })
	client, _ := l.dial(t)
	l.wantReport(t, reportOn(t, client, protocol.Report{Version: 1}), 403, CodeNoCertificate)
	l.wantReport(t, reportOn(t, client, protocol.Report{Version: 1}), 429, CodeRateAddress)
	client, _ = l.dial(t)
	if a := reportOn(t, client, protocol.Report{Version: 1}); a.status != 429 || len(l.records(t)) != 2 {
		t.Errorf("status %d, %d lines", a.status, len(l.records(t)))
	}
	if want := []string{CodeNoCertificate, CodeRateAddress, CodeRateAddress}; !slices.Equal(count.codes, want) {
		t.Errorf("counted are %q", count.codes)
	}
}

// reported notes the codes of reports.
type reported struct {
	uncounted
	codes []string
}

func (r *reported) Report(code string) { r.codes = append(r.codes, code) }
