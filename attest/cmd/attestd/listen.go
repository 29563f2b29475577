package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ember-os/ember/attest/server"
)

const (
	// headerTimeout is how long a client may take for the header of a request, its TPM's work included if it
	// makes the quote first.
	headerTimeout = time.Minute
	idleTimeout   = time.Minute
	maxHeader     = 16 << 10
	// warnInterval is how long nothing more is said of connections over a limit.
	warnInterval = time.Minute
)

// listeners are where a server can be reached.
type listeners struct {
	machines net.Listener
	local    net.Listener // the unix socket of operators
	remote   net.Listener // the address of operators; nil if they have none
	status   net.Listener // that of the status page; nil if there is none
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
	if c.Status.Listen != "" {
		if l.status, err = net.Listen("tcp", c.Status.Listen); err != nil {
			return l, fmt.Errorf("listening for the status page: %w", err)
		}
	}
	return l, nil
}

func (l listeners) close() {
	for _, one := range []net.Listener{l.machines, l.local, l.remote, l.status} {
		if one != nil {
			one.Close()
		}
	}
}

// limited bounds the connections of a listener.
func (p *process) limited(l net.Listener) net.Listener {
	c := p.config
	limits := server.Connections{All: c.Limits.Connections, PerAddress: c.Limits.ConnectionsPerAddress, Proxies: c.Proxies}
	return server.Listen(l, limits, p.refused())
}

// refused is told of connections over a limit: it counts them, and warns of the first and then of those of an
// interval together.
func (p *process) refused() func(limit string, from netip.Addr) {
	advice := map[string]string{
		server.LimitAll:     "connections were closed, as too many are open: if machines made them, raise limits.connections",
		server.LimitAddress: "connections were closed, as one address has too many: raise limits.connectionsPerAddress, or name a load balancer under proxies",
	}
	count, last := make(map[string]int), make(map[string]time.Time)
	return func(limit string, from netip.Addr) {
		p.metrics.Refused(limit)
		count[limit]++
		if now := time.Now(); now.Sub(last[limit]) >= warnInterval {
			p.log.Warn(advice[limit], "closed", count[limit], "address", from)
			count[limit], last[limit] = 0, now
		}
	}
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
		// Small records would let a reader begin sooner, but a machine needs all of the answer.
		DynamicRecordSizingDisabled: true,
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
