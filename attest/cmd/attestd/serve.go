package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/metrics"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
	"github.com/ember-os/ember/os/version"
)

const (
	// headerTimeout is how long a client may take for the header of a request, its TPM's work included if it
	// makes the quote first.
	headerTimeout = time.Minute
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
	// stopTimeout is how long requests have to end when the server stops.
	stopTimeout = 20 * time.Second
	// watchInterval is how often files are looked at.
	watchInterval = 5 * time.Second
)

// process is a server with all that it holds open.
type process struct {
	path   string // of the configuration
	flags  flags
	config *config
	log    *slog.Logger

	store       *bolt.Store
	registry    *store.Registry
	audit       *auditFile
	server      *server.Server
	metrics     *metrics.Metrics
	stopping    atomic.Bool
	certificate atomic.Pointer[tls.Certificate]
	overlays    server.Overlays
	seen        string // fingerprint of the files in use
}

// start opens everything but the network.
func start(ctx context.Context, path string, flags flags, log *slog.Logger) (*process, error) {
	p := &process{path: path, flags: flags, log: log, metrics: metrics.New(version.Version)}
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
	if p.store, err = bolt.Open(filepath.Join(c.Data, "store")); err != nil {
		return err
	}
	p.registry = store.NewRegistry(p.store, nil)
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
	if l.certificate != nil && l.certificate.Leaf != nil {
		p.metrics.Certificate(l.certificate.Leaf.NotAfter)
	}
	p.metrics.Reloaded(true, time.Now())
	for _, err := range l.warnings {
		p.log.Warn("loading", "problem", err)
	}
}

// reload reads everything again. If something is wrong, everything stays as it is.
func (p *process) reload(ctx context.Context) error {
	c, err := readConfig(p.path, p.flags)
	if err != nil {
		p.seen = p.fingerprint(p.config)
		return err
	}
	seen := p.fingerprint(c)
	p.seen = seen // a fault is told of once
	if !p.config.sameFixed(c) {
		return errors.New("what has changed in the configuration needs a restart: only tls, enrolment, overlays and policies are read again")
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
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
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
	public, err := net.Listen("tcp", p.config.Listen)
	if err != nil {
		return fmt.Errorf("listening for machines: %w", err)
	}
	private, err := listenUnix(p.config.Admin)
	if err != nil {
		public.Close()
		return fmt.Errorf("listening for operators: %w", err)
	}
	var status net.Listener
	if address := p.config.Status.Listen; address != "" {
		if status, err = net.Listen("tcp", address); err != nil {
			public.Close()
			private.Close()
			return fmt.Errorf("listening for the status page: %w", err)
		}
	}
	return p.run(ctx, public, private, status, hangup)
}

// run serves until ctx ends. Status may be nil.
func (p *process) run(ctx context.Context, public, private, status net.Listener, hangup <-chan os.Signal) error {
	c := p.config
	public = server.Listen(public, server.Connections{All: c.Limits.Connections, PerAddress: c.Limits.ConnectionsPerAddress, Proxies: c.Proxies},
		func(from netip.Addr) { p.log.Debug("too many connections", "address", from) })
	if c.TLS != (keyPair{}) {
		public = tls.NewListener(public, p.tlsConfig())
	}
	machines, operators := p.httpServer(p.server), p.httpServer(p.adminHandler())
	operators.ConnContext = withPeer
	servers := []*http.Server{machines, operators}
	failed := make(chan error, 3)
	go func() { failed <- machines.Serve(public) }()
	go func() { failed <- operators.Serve(private) }()
	if status != nil {
		p.log.Info("serving the status page", "address", status.Addr().String())
		people := p.httpServer(p.statusHandler())
		people.WriteTimeout = statusTimeout
		servers = append(servers, people)
		status = server.Listen(status, server.DefaultConnections, nil)
		go func() { failed <- people.Serve(status) }()
	}
	ctx, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		p.watch(ctx, hangup, watchInterval)
	}()
	p.log.Info("serving", "address", public.Addr().String(), "binding", c.Binding, "operators", private.Addr().String())
	daemon.SdNotify(false, daemon.SdNotifyReady)

	var err error
	select {
	case <-ctx.Done():
		daemon.SdNotify(false, daemon.SdNotifyStopping)
	case err = <-failed:
	}
	p.stopping.Store(true)
	cancel()
	<-watching
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stop()
	for _, s := range servers {
		if s.Shutdown(end) != nil {
			s.Close()
		}
	}
	return err
}

// httpServer speaks HTTP/1.1 only: one request, perhaps a download.
func (p *process) httpServer(h http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{
		Handler:           h,
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
}

func (p *process) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             []string{"http/1.1"},
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.certificate.Load(), nil },
		ClientAuth:             tls.VerifyClientCertIfGiven,
		ClientCAs:              p.server.Authority.Pool(),
		SessionTicketsDisabled: true, // a machine connects once
	}
}

func (p *process) adminHandler() http.Handler {
	return admin.Handler(p.registry, peer, func(ctx context.Context, who, action, node string, err error) {
		p.server.Audit.Operator(ctx, time.Now(), who, action, node, err)
	})
}

// listenUnix listens where only this user may connect. What a server before has left there goes; that none runs
// is known from the store's lock.
func listenUnix(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	// It gets its mode before anybody can connect.
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	l, err := net.Listen("unix", path)
	if err != nil && strings.Contains(err.Error(), "invalid argument") {
		err = fmt.Errorf("%w: the path may be longer than 107 bytes, see admin in the configuration", err)
	}
	return l, err
}
