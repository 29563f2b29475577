package server

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/os/stage"
)

// reportTimeout is how long a report may take to come.
const reportTimeout = 30 * time.Second

// report takes a protocol.Report.
func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	controller.SetReadDeadline(time.Now().Add(reportTimeout))
	d := &decision{start: s.Now(), address: address(r, s.Proxies)}
	if wait, first := s.fromAddress(d.address, d.start); wait > 0 {
		w.Header().Set("Connection", "close") // its body stays unread
		s.refuseReport(w, r, d, &refusal{status: http.StatusTooManyRequests, code: CodeRateAddress, message: "too many requests from your address", after: wait, unsaid: !first})
		return
	}
	err := s.takeReport(w, r, d)
	controller.SetWriteDeadline(time.Now().Add(answerTimeout))
	if err != nil {
		s.refuseReport(w, r, d, refused(err))
		return
	}
	s.Counters.Report(CodeAllowed)
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) refuseReport(w http.ResponseWriter, r *http.Request, d *decision, problem *refusal) {
	d.verdict, d.code, d.reason = Refuse, problem.code, problem.Error()
	s.Counters.Report(d.code)
	if d.code == CodeInternal {
		s.Log.Error("taking a report", "error", d.reason)
	}
	if !problem.unsaid {
		s.Audit.reportRefused(context.WithoutCancel(r.Context()), d, s.Now())
	}
	problem.write(w)
}

func (s *Server) takeReport(w http.ResponseWriter, r *http.Request, d *decision) error {
	leaf := certificate(r)
	if leaf == nil {
		return &refusal{status: http.StatusForbidden, code: CodeNoCertificate, message: "a report needs the certificate of a grant"}
	}
	node, number := leaf.Subject.CommonName, hex.EncodeToString(leaf.SerialNumber.Bytes())
	d.node, d.certificate = node, number
	if wait, first := s.limiters.reports.take(node, d.start); wait > 0 {
		return &refusal{status: http.StatusTooManyRequests, code: CodeRateMachine, message: "too many reports of this machine", after: wait, unsaid: !first}
	}
	if err := s.checkRevoked(r.Context(), node); err != nil {
		return err
	}
	body, release, err := s.bodies.read(w, r, protocol.MaxReport, "report")
	if err != nil {
		return err
	}
	defer release()
	report, err := protocol.DecodeReport(body)
	if err != nil {
		return &refusal{status: http.StatusBadRequest, code: CodeMalformed, message: err.Error()}
	}
	if len(report.Receipt) > 0 {
		receipt, err := s.receipts.open(report.Receipt, node, number)
		if err != nil {
			return err
		}
		if err := s.Registry.Prove(r.Context(), receipt.Verdict, receipt.Evidence); err != nil {
			return err
		}
	}
	at := progress(report.Stages)
	err = s.Registry.Report(r.Context(), store.Report{
		Node: node, Time: d.start.UTC(), Address: addressText(d.address), Certificate: number,
		Stages: report.Stages, Status: report.Status, Health: report.Health,
	}, at)
	if errors.Is(err, store.ErrNotFound) {
		return &refusal{status: http.StatusForbidden, code: CodeReceipt, message: "there is no receipt in the report, and there was none before, or the machine has attested again"}
	} else if err != nil {
		return err
	}
	return s.Audit.report(r.Context(), d.start, node, addressText(d.address), number, at.Stage, report.Health.State)
}

// certificate is that of a machine, nil without one. That it may end while its connection lasts is no reason to
// refuse what comes: the key was proved when the connection began.
func certificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.VerifiedChains[0][0]
}

// progress is the stage that was reached last, by its time, and where the boot came from, which stages of
// last-known-good say.
func progress(lines []string) (p store.Progress) {
	for _, line := range lines {
		l, ok := stage.Parse(line)
		if !ok {
			continue
		}
		if p.Stage == "" || l.T >= p.Since {
			p.Stage, p.Since = cut(l.Name, 32), l.T
		}
		if from := l.Get("from"); from == "network" || from == "disk" {
			p.Boot = from
		}
	}
	return p
}
