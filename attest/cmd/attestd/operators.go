package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
)

// localHandler serves operators at the unix socket, who may have a copy of the store: whose user can read it anyhow.
func (p *process) localHandler() http.Handler {
	s := p.adminServer()
	if b, ok := p.store.(interface{ Backup(io.Writer) error }); ok {
		s.Backup = b.Backup
	}
	return handlerOf(s)
}

// remoteHandler serves operators that come by TLS.
func (p *process) remoteHandler() http.Handler { return p.named(handlerOf(p.adminServer())) }

func (p *process) adminServer() *admin.Server {
	return &admin.Server{
		Registry:  p.registry,
		Overlays:  func() *depot.Depot { return p.depot.Load() },
		Published: p.published,
		Who:       caller,
		Audit: func(ctx context.Context, a admin.Action) {
			p.server.Audit.Operator(ctx, time.Now(), a)
		},
	}
}

// handlerOf serves operators. A browser that has an operator's certificate does nothing for other sites.
func handlerOf(s *admin.Server) http.Handler {
	return http.NewCrossOriginProtection().Handler(s.Handler())
}

// published reads the files again, and is the error of an overlay that is then not the one in use.
func (p *process) published(ctx context.Context, name string, version uint64) error {
	answer := make(chan server.Overlays, 1)
	select {
	case p.reloads <- answer:
	case <-p.unwatched:
		return fmt.Errorf("overlay %q is in its folder, but the server stops, and gives it after its next start", name)
	case <-ctx.Done():
		return ctx.Err()
	}
	if o := (<-answer)[name]; o == nil || o.Version() != version {
		return fmt.Errorf("version %d of overlay %q is in its folder, but could not be put to use: the server's log says why", version, name)
	}
	return nil
}

// readOperators reads the folder of operators whatever else is wrong: who is none any longer must not stay one because
// of a mistake elsewhere. Without the folder there are none.
func (p *process) readOperators() {
	set, _, err := operator.Read(p.config.Operators.Folder)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		p.operators.Store(&set)
	}
}

// onlyOperators takes connections of operators, those that there are when they come.
func (p *process) onlyOperators(l net.Listener) net.Listener {
	return tls.NewListener(l, operator.Require(p.tlsConfig(), func() operator.Set { return *p.operators.Load() }))
}

type callerKey struct{}

// caller names the operator of a request.
func caller(r *http.Request) string {
	who, _ := r.Context().Value(callerKey{}).(string)
	return who
}

// withPeer notes who is at the other end of a unix socket (unix(7), SO_PEERCRED).
func withPeer(ctx context.Context, c net.Conn) context.Context {
	who, err := peerOf(c)
	if err != nil {
		who = "unknown"
	}
	return context.WithValue(ctx, callerKey{}, who)
}

// named notes which operator a request is of, and refuses those who are none any longer.
func (p *process) named(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := p.operators.Load().Known(r.TLS)
		if name == "" {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(protocol.Problem{Code: admin.CodeUnknownOperator, Message: "this operator's key is not known here any longer"})
			return
		}
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, name)))
	})
}
