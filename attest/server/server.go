// Package server is the attestation server without its process: an http.Handler that takes requests
// (package protocol), verifies them (verify), decides by policy (policy), remembers (store), answers with
// sealed grants and writes down every decision ([Audit]).
//
// What it does to others is bounded: see [Limits] for requests, [Listen] for connections; the memory for bodies of
// requests is bounded for all together. It has no
// goroutines. A panic in a parser ends that request.
package server

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

// Config is what stays for a server's life. Fields are required unless they say something else.
type Config struct {
	Registry  *store.Registry
	Authority *Authority
	Audit     *Audit
	Log       *slog.Logger // what an operator must know and is no decision
	// Challenge has machines bind their quotes to a nonce of ours and not to the TLS connection, which
	// something in front of the server ends.
	Challenge bool
	// Proxies are whose word on the client's address is taken, X-Forwarded-For. Their own addresses, where they
	// forward none, have no limit. Optional.
	Proxies []netip.Prefix
	// Queue is how many unknown machines may wait for an operator; 0 for no queue.
	Queue  int
	Limits Limits
	// Counters count what is done; nil for none.
	Counters Counters
	// Now is the clock; nil for the machine's.
	Now func() time.Time
}

// Settings are what can be exchanged while the server runs.
type Settings struct {
	Policies *policy.Set
	// Roots and Intermediates are the certificates of TPM vendors.
	Roots, Intermediates *x509.CertPool
	// Machines are enrolled besides those of the registry, by protocol.NodeID.
	Machines map[string]bool
	Overlays Overlays
	// PrivateOverlays has ciphertext served only to the machines that it was granted to.
	PrivateOverlays bool
}

// Server is the handler.
type Server struct {
	Config
	settings atomic.Pointer[Settings]
	shelf    shelf
	nonces   *nonces
	receipts *receipts
	limiters *limiters
	bodies   *bodies
	slots    chan struct{} // requests that are being verified
	patience time.Duration // of a request for a slot
	mux      http.ServeMux

	verify func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error)
}

// New makes a server.
func New(ctx context.Context, c Config, s *Settings) (*Server, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Counters == nil {
		c.Counters = uncounted{}
	}
	keys := make(map[string][]byte)
	for _, name := range []string{"challenges", "receipts"} {
		candidate := make([]byte, 32)
		rand.Read(candidate)
		var err error
		if keys[name], err = c.Registry.Secret(ctx, name, candidate); err != nil {
			return nil, fmt.Errorf("reading the key of %s: %w", name, err)
		}
	}
	receipts, err := newReceipts(keys["receipts"])
	if err != nil {
		return nil, err
	}
	server := &Server{
		Config:   c,
		nonces:   &nonces{key: keys["challenges"], registry: c.Registry},
		receipts: receipts,
		limiters: newLimiters(c.Limits),
		bodies:   newBodies(unusualBodies),
		slots:    make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		patience: slotTimeout,
		verify:   verify.Verify,
	}
	server.mux.HandleFunc("POST "+protocol.Path, server.attest)
	server.mux.HandleFunc("POST "+protocol.ReportPath, server.report)
	server.mux.HandleFunc("GET /"+overlayPath+"{name}/{version}", server.overlay)
	server.Replace(s)
	return server, nil
}

// Replace exchanges the settings. Requests that have begun keep the old ones; overlays that are gone can be
// fetched for as long as a grant for them may be under way.
func (s *Server) Replace(settings *Settings) {
	s.settings.Store(settings)
	s.shelf.add(settings.Overlays, s.Now())
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// net/http keeps the deadline of a request before on the same connection.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(bodyTimeout + answerTimeout))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	s.mux.ServeHTTP(w, r)
}

// slot waits for its turn to use the processor.
func (s *Server) slot(ctx context.Context) (release func(), err error) {
	wait := time.NewTimer(s.patience)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	case <-wait.C:
		return nil, errors.New("the server has too much to do")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
