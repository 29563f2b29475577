package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// balancer passes TCP connections on to several servers, in turn; those that refuse are left out.
type balancer struct {
	listener net.Listener
	targets  []string // NETWORK:ADDRESS

	mu   sync.Mutex
	next int
	gate chan struct{} // closed while answers pass
}

func balance(t *testing.T, targets ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{listener: l, targets: targets, gate: make(chan struct{})}
	close(b.gate)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { b.pass(t.Context(), c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return b
}

func (b *balancer) address() string { return b.listener.Addr().String() }

// dial connects to the next server that is there.
func (b *balancer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	var failed []error
	for range b.targets {
		b.mu.Lock()
		network, address, _ := strings.Cut(b.targets[b.next%len(b.targets)], ":")
		b.next++
		b.mu.Unlock()
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func (b *balancer) pass(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := b.dial(ctx, "", "")
	if err != nil {
		return
	}
	defer server.Close()
	defer context.AfterFunc(ctx, func() { client.Close(); server.Close() })()
	go func() {
		io.Copy(server, client)
		server.Close()
	}()
	io.Copy(gated{ctx, b, client}, server)
}

// hold keeps answers back, until release.
func (b *balancer) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gate = make(chan struct{})
}

func (b *balancer) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.gate)
}

type gated struct {
	ctx context.Context
	b   *balancer
	io.Writer
}

func (g gated) Write(p []byte) (int, error) {
	g.b.mu.Lock()
	gate := g.b.gate
	g.b.mu.Unlock()
	select {
	case <-gate:
		return g.Writer.Write(p)
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

// terminate is a balancer that ends TLS, and takes another server for each request. Its address is given.
func terminate(t *testing.T, certificate *issuer, targets ...string) string {
	t.Helper()
	b := balance(t, targets...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: "attestd"})
			r.SetXForwarded()
		},
		Transport: &http.Transport{DialContext: b.dial, DisableKeepAlives: true},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	pair := tls.Certificate{Certificate: [][]byte{certificate.certificate.Raw}, PrivateKey: certificate.key}
	s := &http.Server{Handler: proxy, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}))
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}
