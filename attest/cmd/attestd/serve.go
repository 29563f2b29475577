package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/ember-os/ember/attest/metrics"
	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/trace"
	"github.com/ember-os/ember/os/version"
)

const (
	// stopTimeout is how long requests have to end when the server stops.
	stopTimeout = 20 * time.Second
	// watchInterval is how often files are looked at.
	watchInterval = 5 * time.Second
	// ballast is memory that is never touched, and so is none to the kernel, but counts for Go's collector, which
	// lets as much garbage come together as there is in use. What a server keeps is small, and each request leaves
	// much: without it a fifth of the processor's time would go into collecting.
	ballast = 64 << 20
)

// process is a server with all that it holds open.
type process struct {
	path   string // of the configuration
	flags  flags
	config *config
	log    *slog.Logger

	store       store.Store
	registry    *store.Registry
	audit       *auditFile
	server      *server.Server
	metrics     *metrics.Metrics
	tracer      *trace.Tracer // nil unless asked for
	stopping    atomic.Bool
	certificate atomic.Pointer[tls.Certificate]
	operators   atomic.Pointer[operator.Set]
	depot       atomic.Pointer[depot.Depot]
	overlays    server.Overlays
	seen        string // fingerprint of the files in use

	reloads   chan chan server.Overlays // asks watch for a reload, and gets what is published then
	unwatched chan struct{}             // closed when watch has ended
}

// start opens everything but the network.
func start(ctx context.Context, path string, flags flags, log *slog.Logger) (*process, error) {
	p := &process{
		path: path, flags: flags, log: log, metrics: metrics.New(version.Version),
		reloads: make(chan chan server.Overlays), unwatched: make(chan struct{}),
	}
	if err := p.open(ctx); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *process) open(ctx context.Context) error {
	c, err := readConfig(p.path, p.flags)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	if p.store, err = openStore(ctx, c, p.log); err != nil {
		return err
	}
	p.registry = store.NewRegistry(p.store, nil)
	if p.tracer, err = trace.New(ctx, version.Version); err != nil {
		return err
	}
	if p.audit, err = openAudit(c.Audit); err != nil {
		return err
	}
	authority, err := server.OpenAuthority(c.Authority.Certificate, c.Authority.Key, time.Now())
	if err != nil {
		return err
	}
	seen := p.fingerprint(c)
	l, err := load(ctx, c, p.registry, nil)
	if err != nil {
		return err
	}
	p.server, err = server.New(ctx, server.Config{
		Registry:  p.registry,
		Authority: authority,
		Audit:     server.NewAudit(p.audit, func(err error) { p.log.Error("a decision is not in the audit log", "error", err) }),
		Log:       p.log,
		Challenge: c.Binding == bindChallenge,
		Proxies:   c.Proxies,
		Queue:     c.Queue,
		Counters:  p.metrics,
		Limits:    server.Limits{AddressPerMinute: c.Limits.RequestsPerAddress, MachinePerMinute: c.Limits.RequestsPerMachine},
	}, l.settings)
	if err != nil {
		return err
	}
	p.use(c, l, seen)
	return nil
}

func (p *process) close() {
	if p.audit != nil {
		p.audit.Close()
	}
	if p.store != nil {
		p.store.Close()
	}
}

func (p *process) fingerprint(c *config) string {
	return fingerprint(append([]string{p.path}, c.files()...))
}

// use puts to use what was loaded.
func (p *process) use(c *config, l *loaded, seen string) {
	p.config, p.seen, p.overlays = c, seen, l.settings.Overlays
	p.certificate.Store(l.certificate)
	p.operators.Store(&l.operators)
	p.depot.Store(l.depot)
	if l.certificate != nil && l.certificate.Leaf != nil {
		p.metrics.Certificate(l.certificate.Leaf.NotAfter)
	}
	p.metrics.Reloaded(true, time.Now())
	for _, err := range l.warnings {
		p.log.Warn("loading", "problem", err)
		if errors.Is(err, store.ErrUnavailable) {
			p.seen = "" // an overlay is published when the store is back
		}
	}
}

// reload reads everything again. If something is wrong, everything stays as it is, but for operators.
func (p *process) reload(ctx context.Context) error {
	p.readOperators()
	c, err := readConfig(p.path, p.flags)
	if err != nil {
		p.seen = p.fingerprint(p.config)
		return err
	}
	seen := p.fingerprint(c)
	p.seen = seen // a fault is told of once
	if !p.config.sameFixed(c) {
		return errors.New("what has changed in the configuration needs a restart: only tls, enrolment, operators.folder, overlays and policies are read again")
	}
	l, err := load(ctx, c, p.registry, p.overlays)
	if err != nil {
		return err
	}
	p.use(c, l, seen)
	p.server.Replace(l.settings)
	return nil
}

// watch reloads when a file has changed, and on SIGHUP, when the audit log is opened again as well.
func (p *process) watch(ctx context.Context, hangup <-chan os.Signal, every time.Duration) {
	defer close(p.unwatched)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		var asked chan server.Overlays
		select {
		case <-ctx.Done():
			return
		case asked = <-p.reloads:
		case <-hangup:
			if err := p.audit.reopen(); err != nil {
				p.log.Error("opening the audit log again", "error", err)
			}
		case <-tick.C:
			if p.fingerprint(p.config) == p.seen {
				continue
			}
		}
		if err := p.reload(ctx); err != nil {
			p.metrics.Reloaded(false, time.Now())
			p.log.Error("reloading: all stays as it was", "error", err)
		} else {
			p.log.Info("reloaded")
		}
		if asked != nil {
			asked <- p.overlays
		}
	}
}

// serve is the command.
func serve(ctx context.Context, path string, flags flags, log *slog.Logger) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	p, err := start(ctx, path, flags, log)
	if err != nil {
		return err
	}
	defer p.close()
	defer runtime.KeepAlive(make([]byte, ballast))
	l, err := listen(p.config)
	if err != nil {
		return err
	}
	return p.run(ctx, l, hangup)
}

// run serves until ctx ends.
func (p *process) run(ctx context.Context, l listeners, hangup <-chan os.Signal) error {
	c := p.config
	fields := []any{"address", l.machines.Addr().String(), "binding", c.Binding, "operators", l.local.Addr().String()}
	machines, local := p.httpServer(p.tracer.Handler(p.server)), p.httpServer(p.localHandler())
	local.ConnContext = withPeer
	servers := []*http.Server{machines, local}
	failed := make(chan error, 4)
	public := p.limited(l.machines)
	if c.TLS != (keyPair{}) {
		public = tls.NewListener(public, p.tlsConfig())
	}
	go func() { failed <- machines.Serve(public) }()
	go func() { failed <- local.Serve(l.local) }()
	if l.remote != nil {
		remote := p.httpServer(p.remoteHandler())
		servers = append(servers, remote)
		fields = append(fields, "remoteOperators", l.remote.Addr().String())
		operators := p.onlyOperators(p.limited(l.remote))
		go func() { failed <- remote.Serve(operators) }()
	}
	if l.status != nil {
		people := p.httpServer(p.statusHandler())
		people.WriteTimeout = statusTimeout
		servers = append(servers, people)
		fields = append(fields, "status", l.status.Addr().String())
		status := server.Listen(l.status, server.DefaultConnections, nil)
		go func() { failed <- people.Serve(status) }()
	}
	ctx, cancel := context.WithCancel(ctx)
	go p.watch(ctx, hangup, watchInterval)
	p.log.Info("serving", fields...)
	daemon.SdNotify(false, daemon.SdNotifyReady)

	var err error
	select {
	case <-ctx.Done():
		daemon.SdNotify(false, daemon.SdNotifyStopping)
	case err = <-failed:
	}
	p.stopping.Store(true)
	cancel()
	<-p.unwatched
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stop()
	for _, s := range servers {
		if s.Shutdown(end) != nil {
			s.Close()
		}
	}
	if err := p.tracer.Close(end); err != nil {
		p.log.Error("sending the last traces", "error", err)
	}
	return err
}
