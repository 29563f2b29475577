package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

const (
	// bodyTimeout is how long a request may take to come: a slow TPM makes its quote meanwhile.
	bodyTimeout = 3 * time.Minute
	// answerTimeout is how long an answer may take to go.
	answerTimeout = 30 * time.Second
	// slotTimeout is how long a request waits for the processor.
	slotTimeout = 10 * time.Second
	// storeInterval is how long a machine should leave a server alone whose store is away.
	storeInterval = 2 * time.Second
	// approvalInterval is how often a machine in the queue should ask.
	approvalInterval = time.Minute
)

// attest takes a protocol.Request.
func (s *Server) attest(w http.ResponseWriter, r *http.Request) {
	d := &decision{start: s.Now(), address: address(r, s.Proxies)}
	controller := http.NewResponseController(w)
	controller.SetReadDeadline(time.Now().Add(bodyTimeout))
	wait, first := s.fromAddress(d.address, d.start)
	if wait > 0 {
		problem := &refusal{status: http.StatusTooManyRequests, code: CodeRateAddress, message: "too many requests from your address", after: wait}
		if first { // an attacker does not fill the log
			s.refuse(r.Context(), d, problem)
		} else {
			s.Counters.Decision(Refuse, problem.code, "", 0)
		}
		w.Header().Set("Connection", "close") // its body stays unread
		problem.write(w)
		return
	}
	answer, err := s.answer(w, r, d)
	controller.SetWriteDeadline(time.Now().Add(answerTimeout))
	var again *challenge
	switch {
	case errors.As(err, &again):
		if again.expired {
			s.refuse(r.Context(), d, refused(&refusal{code: CodeNonceExpired, message: "the nonce is too old"}))
		}
		s.Counters.Challenge()
		writeJSON(w, http.StatusPreconditionRequired, protocol.Challenge{Nonce: s.nonces.issue(s.Now())})
	case err != nil:
		problem := refused(err)
		s.refuse(r.Context(), d, problem)
		problem.write(w)
	default:
		s.Counters.Decision(d.verdict, d.code, d.tier, s.Now().Sub(d.start))
		writeJSON(w, http.StatusOK, answer)
	}
}

// challenge is that the machine must ask again, with a nonce.
type challenge struct{ expired bool }

func (*challenge) Error() string { return "a nonce is needed" }

// refuse writes the decision down. That a line is lost changes no refusal.
func (s *Server) refuse(ctx context.Context, d *decision, r *refusal) {
	if d.verdict == "" {
		d.verdict = Refuse
	}
	d.code, d.reason = r.code, r.Error()
	ctx = context.WithoutCancel(ctx)
	now := s.Now()
	s.Audit.decision(ctx, d, now)
	s.Counters.Decision(d.verdict, d.code, d.tier, now.Sub(d.start))
	s.noteRefusal(ctx, d)
}

// answer decides. An error is a *challenge, *refusal, *verify.Refusal, or a failure of ours.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, d *decision) (answer *protocol.Response, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.Log.Error("panic in a request", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			answer, err = nil, errors.New("panic")
		}
	}()
	body, release, err := s.bodies.read(w, r, protocol.MaxRequest, "request")
	if err != nil {
		return nil, err
	}
	defer release()
	request, err := protocol.DecodeRequest(body)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, code: CodeMalformed, message: err.Error()}
	}
	nonce, err := s.nonce(r.TLS, request)
	if err != nil {
		return nil, err
	}
	settings := s.settings.Load()
	e, problem := s.evidence(r.Context(), settings, request, nonce)
	if unsound, ok := errors.AsType[*verify.Refusal](problem); ok {
		e = unsound.Evidence
		if unsound.Stack != "" {
			s.Log.Error("panic in the verifier", "panic", unsound.Panic, "stack", unsound.Stack)
		}
	}
	if e == nil {
		return nil, problem
	}
	d.node, d.tier, d.image = e.Node, e.Tier, e.Claims.Image
	if e.EKProblem != nil {
		d.ek = e.EKProblem.Code
	}
	if wait, _ := s.limiters.machines.take(e.Node, d.start); wait > 0 {
		return nil, &refusal{status: http.StatusTooManyRequests, code: CodeRateMachine, message: "too many requests of this machine", after: wait}
	}
	if len(request.Nonce) > 0 {
		if err := s.nonces.use(r.Context(), request.Nonce); err != nil {
			return nil, err
		}
	}
	d.evidence, d.known = e, settings.Machines[e.Node]
	if problem != nil {
		return nil, problem
	}
	_, revision, err := s.Registry.Last(r.Context(), e.Node)
	if err != nil {
		return nil, err
	}
	if err := s.checkRevoked(r.Context(), e.Node); err != nil {
		return nil, err
	}
	grant, err := s.decide(r.Context(), settings, e, d)
	if err != nil {
		return nil, err
	}
	return s.seal(r.Context(), request, request.Binding(nonce), e, grant, d, revision)
}

// nonce is what the request's quote must be bound to.
func (s *Server) nonce(state *tls.ConnectionState, request *protocol.Request) ([]byte, error) {
	if s.Challenge {
		if len(request.Nonce) == 0 {
			return nil, new(challenge)
		}
		err := s.nonces.check(request.Nonce, s.Now())
		var problem *refusal
		if errors.As(err, &problem) && problem.code == CodeNonceExpired {
			return nil, &challenge{expired: true}
		}
		return request.Nonce, err
	}
	switch {
	case len(request.Nonce) > 0:
		return nil, &refusal{status: http.StatusBadRequest, code: CodeNonceUnexpected, message: "this server gives no nonces: the quote is bound to the TLS connection"}
	case state == nil || state.Version < tls.VersionTLS13:
		return nil, &refusal{status: http.StatusBadRequest, code: CodeNotBound, message: "the connection is not one of TLS 1.3"}
	}
	nonce, err := state.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize)
	if err != nil {
		return nil, fmt.Errorf("binding to the TLS connection: %w", err)
	}
	return nonce, nil
}

// evidence is the request, verified, which is what takes a processor's time. The disk is waited for without a
// slot, so that many requests share a write.
func (s *Server) evidence(ctx context.Context, settings *Settings, request *protocol.Request, nonce []byte) (*verify.Evidence, error) {
	release, err := s.slot(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, &refusal{status: http.StatusServiceUnavailable, code: CodeBusy, message: "the server is busy", detail: err.Error(), after: slotTimeout}
	}
	defer release()
	var problem error
	e, err := s.verify(request, nonce, verify.Options{
		Roots:         settings.Roots,
		Intermediates: settings.Intermediates,
		Enrolled: func(node string) bool {
			if settings.Machines[node] {
				return true
			}
			m, err := s.Registry.Machine(ctx, node)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				problem = err
			}
			return m.State == store.Enrolled
		},
		Now: s.Now(),
	})
	if other := errors.Join(problem, ctx.Err()); other != nil {
		return nil, other
	}
	return e, err
}

func (s *Server) checkRevoked(ctx context.Context, node string) error {
	m, err := s.Registry.Machine(ctx, node)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	case m.State == store.Revoked:
		return &refusal{status: http.StatusForbidden, code: CodeRevoked, message: "this machine is revoked"}
	}
	return nil
}

// decide is the grant that the machine gets, but for its certificates.
func (s *Server) decide(ctx context.Context, settings *Settings, e *verify.Evidence, d *decision) (*protocol.Grant, error) {
	verdict := settings.Policies.Decide(e)
	d.compared = settings.Policies.Compare(e, verdict)
	if !verdict.Allow {
		if e.Tier == protocol.None && !settings.Policies.Takes(protocol.None) {
			return nil, s.enqueue(ctx, e, d)
		}
		return nil, denied(verdict)
	}
	d.policy, d.overlay = verdict.Policy, verdict.Overlay
	grant := &protocol.Grant{Version: protocol.Version, Time: s.Now().UTC().Truncate(time.Second), Node: e.Node, Tier: e.Tier}
	if verdict.Overlay == "" {
		return grant, nil
	}
	o, err := settings.Overlays.choose(verdict.Overlay, verdict.Version, e.Node, s.Now())
	if err != nil {
		return nil, err
	}
	d.version, grant.Overlay = o.Version(), o.grant()
	return grant, nil
}

// denied tells the machine little: what would please a policy is nobody's business.
func denied(verdict policy.Decision) *refusal {
	var reasons []string
	for _, r := range verdict.Reasons {
		reasons = append(reasons, r.String())
	}
	detail := strings.Join(reasons, "; ")
	if detail == "" {
		detail = "there are no policies"
	}
	return &refusal{status: http.StatusForbidden, code: verdict.Code(), message: "no policy lets this machine in", detail: detail}
}

// enqueue has a machine of which nothing is known wait for an operator.
func (s *Server) enqueue(ctx context.Context, e *verify.Evidence, d *decision) error {
	if s.Queue == 0 {
		return &refusal{status: http.StatusForbidden, code: CodeUnknown, message: "this machine is not enrolled, and its endorsement key has no certificate that is trusted here"}
	}
	w := store.Waiting{Node: e.Node, Address: addressText(d.address), Problem: d.ek, Claims: clip(e.Claims)}
	if e.EKCertificate != nil {
		issuer := e.EKCertificate.Issuer.String()
		w.Issuer = issuer[:min(len(issuer), maxText)]
	}
	_, err := s.Registry.Enqueue(ctx, w, s.Queue)
	if errors.Is(err, store.ErrFull) {
		return &refusal{status: http.StatusForbidden, code: CodeQueueFull, message: "this machine is not enrolled, and too many others wait already", after: approvalInterval}
	} else if err != nil {
		return err
	}
	d.verdict = Queue
	return &refusal{status: http.StatusForbidden, code: CodeQueued, message: "this machine is not enrolled; it waits for an operator", after: approvalInterval}
}

// seal completes the grant, notes it, writes it down, and seals it for the machine.
func (s *Server) seal(ctx context.Context, request *protocol.Request, binding []byte, e *verify.Evidence, grant *protocol.Grant, d *decision, revision uint64) (*protocol.Response, error) {
	var err error
	if grant.Certificates, d.certificate, err = s.Authority.Issue(e.Node, e.Tier, e.TLSKey, s.Now()); err != nil {
		return nil, err
	}
	secret := make([]byte, protocol.SecretSize)
	rand.Read(secret)
	response, err := protocol.Seal(grant, request, binding, secret, e.Credential)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, code: CodeMalformed, message: "the keys in the request cannot be sealed to", detail: err.Error()}
	}
	d.code = CodeAllowed
	v, evidence := d.record(s.Now())
	if response.Receipt, err = s.receipts.seal(v, evidence); err != nil {
		return nil, err
	}
	if err := s.Registry.Attest(ctx, v, revision); errors.Is(err, store.ErrConflict) {
		return nil, &refusal{status: http.StatusTooManyRequests, code: CodeConcurrent, message: "another request with this endorsement key was answered just now", after: time.Second}
	} else if err != nil {
		return nil, err
	}
	d.verdict = Allow
	if err := s.Audit.decision(ctx, d, s.Now()); err != nil {
		d.verdict = ""
		return nil, err
	}
	return response, nil
}
