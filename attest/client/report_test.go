package client

import (
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

// counted counts signatures.
type counted struct {
	crypto.Signer
	n atomic.Int32
}

func (c *counted) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	c.n.Add(1)
	return c.Signer.Sign(r, digest, o)
}

func TestReporter(t *testing.T) {
	got := make(chan *protocol.Report, 8)
	status := atomic.Int32{}
	status.Store(http.StatusServiceUnavailable)
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		report, err := protocol.DecodeReport(b)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != protocol.ReportPath || len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if n := int(status.Load()); n != http.StatusNoContent {
			w.WriteHeader(n)
			io.WriteString(w, `{"code":"a-code","message":"a test"}`)
			return
		}
		got <- report
		w.WriteHeader(http.StatusNoContent)
	}), func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	machine := newTPM(t)
	result, err := Attest(t.Context(), machine, newServer(t, &granting{t: t}).client())
	if err != nil {
		t.Fatal(err)
	}
	key := &counted{Signer: machine.key}
	result.Certificate.PrivateKey, result.Receipt = key, []byte("receipt")
	r, err := NewReporter(s.client(), result)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	report := protocol.Report{Stages: []string{"ember: stage=start t=0.100"}, Health: protocol.Health{State: "starting"}}

	if _, ok := errors.AsType[*Unreachable](r.Send(t.Context(), report)); !ok {
		t.Error("a server that says to come again is not unreachable")
	}
	status.Store(http.StatusForbidden)
	if refused, ok := errors.AsType[*Refused](r.Send(t.Context(), report)); !ok || refused.Code != "a-code" {
		t.Errorf("refused: %v", refused)
	}
	status.Store(http.StatusNoContent)
	for i, receipt := range []string{"receipt", "", ""} {
		if err := r.Send(t.Context(), report); err != nil {
			t.Fatal(err)
		}
		if sent := <-got; string(sent.Receipt) != receipt || len(sent.Stages) != 1 || sent.Health.State != "starting" {
			t.Errorf("report %d: %+v", i, sent)
		}
	}
	if n := key.n.Load(); n != 1 {
		t.Errorf("the key has signed %d times: the reports did not share a connection", n)
	}
	report.Health.State = "not well"
	if err := r.Send(t.Context(), report); err == nil {
		t.Error("a report that no server takes was sent")
	}
}
