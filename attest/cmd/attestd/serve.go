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

	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
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
	p := &process{path: path, flags: flags, log: log, reloads: make(chan chan server.Overlays), unwatched: make(chan struct{})}
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
	l, err := listen(p.config)
	if err != nil {
		return err
	}
	return p.run(ctx, l, hangup)
}

// listeners are where a server can be reached.
type listeners struct {
	machines net.Listener
	local    net.Listener // the unix socket of operators
	remote   net.Listener // the address of operators; nil if they have none
}

func listen(c *config) (l listeners, err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.machines, err = net.Listen("tcp", c.Listen); err != nil {
		return l, fmt.Errorf("listening for machines: %w", err)
	}
	if l.local, err = listenUnix(c.Admin); err != nil {
		return l, fmt.Errorf("listening for operators: %w", err)
	}
	if c.Operators.Listen != "" {
		if l.remote, err = net.Listen("tcp", c.Operators.Listen); err != nil {
			return l, fmt.Errorf("listening for operators: %w", err)
		}
	}
	return l, nil
}

func (l listeners) close() {
	for _, one := range []net.Listener{l.machines, l.local, l.remote} {
		if one != nil {
			one.Close()
		}
	}
}

// run serves until ctx ends.
func (p *process) run(ctx context.Context, l listeners, hangup <-chan os.Signal) error {
	c := p.config
	fields := []any{"address", l.machines.Addr().String(), "binding", c.Binding, "operators", l.local.Addr().String()}
	machines, local := p.httpServer(p.server), p.httpServer(p.adminHandler())
	local.ConnContext = withPeer
	servers := []*http.Server{machines, local}
	failed := make(chan error, 3)
	public := p.limited(l.machines)
	if c.TLS != (keyPair{}) {
		public = tls.NewListener(public, p.tlsConfig())
	}
	go func() { failed <- machines.Serve(public) }()
	go func() { failed <- local.Serve(l.local) }()
	if l.remote != nil {
		remote := p.httpServer(p.named(p.adminHandler()))
		servers = append(servers, remote)
		fields = append(fields, "remoteOperators", l.remote.Addr().String())
		go func() { failed <- remote.Serve(p.onlyOperators(p.limited(l.remote))) }()
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
	cancel()
	<-p.unwatched
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer stop()
	for _, s := range servers {
		if s.Shutdown(end) != nil {
			s.Close()
		}
	}
	return err
}

// limited bounds the connections of a listener.
func (p *process) limited(l net.Listener) net.Listener {
	c := p.config
	limits := server.Connections{All: c.Limits.Connections, PerAddress: c.Limits.ConnectionsPerAddress, Proxies: c.Proxies}
	return server.Listen(l, limits, func(from netip.Addr) { p.log.Debug("too many connections", "address", from) })
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
