package syslog

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// certificate makes a certificate for the collector and the file that says that it
// is to be trusted.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots
}

// frame gives the text of the next message of a stream, see RFC 6587, 3.4.1.
func frame(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	var length int
	if _, err := fmt.Fscanf(r, "%d ", &length); err != nil {
		t.Fatal(err)
	}
	msg := make([]byte, length)
	if _, err := io.ReadFull(r, msg); err != nil {
		t.Fatal(err)
	}
	m, _, _, _ := read(t, msg)
	return m.Text
}

// collector is one that listens for TCP or TLS.
type collector struct{ net.Listener }

func listen(t *testing.T, transport, address string, cert tls.Certificate) collector {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	if transport == TLS {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	t.Cleanup(func() { l.Close() })
	return collector{l}
}

func (c collector) accept(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := c.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(limit))
	t.Cleanup(func() { conn.Close() })
	return conn, bufio.NewReader(conn)
}

// TestStream has a collector that comes up late, restarts, and dies.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{TCP, TLS} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			cert, roots := certificate(t)
			l := listen(t, transport, "127.0.0.1:0", cert)
			address := l.Addr()
			l.Close()
			s, log := newSender(t, transport, address, roots)
			s.numbered(0, 300)
			log.wait(t, "can not be reached")

			l = listen(t, transport, address.String(), cert)
			conn, r := l.accept(t)
			inOrder(t, 0, 300, func() string { return frame(t, r) })
			if err := s.Flush(t.Context()); err != nil {
				t.Error(err)
			}
			log.wait(t, "can be reached ")
			if unsent, sent := s.queue.waiting(); unsent+sent != 0 {
				t.Errorf("%d messages wait", unsent+sent)
			}
			conn.Close()
			s.numbered(300, 400)
			conn, r = l.accept(t)
			inOrder(t, 300, 400, func() string { return frame(t, r) })
			if err := s.Flush(t.Context()); err != nil {
				t.Error(err)
			}

			// What was not read when the collector dies may be lost, but nothing else.
			l.Close()
			conn.Close()
			s.numbered(400, 410)
			l = listen(t, transport, address.String(), cert)
			_, r = l.accept(t)
			inOrder(t, 400, 410, func() string { return frame(t, r) })
		})
	}
}

// TestStreamStalls has a collector that takes nothing for a while.
func TestStreamStalls(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	l := listen(t, TCP, "127.0.0.1:0", cert)
	s, _ := newSender(t, TCP, l.Addr(), roots)
	_, r := l.accept(t)
	const messages = 20000 // more than the kernel buffers
	s.numbered(0, messages)
	inOrder(t, 0, messages, func() string { return frame(t, r) })
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStreamBusy always has more to send.
func TestStreamBusy(t *testing.T) {
	t.Parallel()
	l := listen(t, TCP, "127.0.0.1:0", tls.Certificate{})
	s, _ := prepare(t, TCP, l.Addr(), "")
	arrived := make(chan struct{})
	once := sync.OnceFunc(func() { close(arrived) })
	s.Arrived = func(Message) { once() }
	s.hostname = func() string { // is asked for every message
		s.numbered(0, 1)
		return "node7"
	}
	s.start(t)
	s.numbered(0, 1)
	_, r := l.accept(t)
	go io.Copy(io.Discard, r)
	select {
	case <-arrived:
	case <-time.After(limit):
		t.Error("nothing is known to have arrived")
	}
}

// TestTLSRefuses does not send to a collector that is not to be trusted.
func TestTLSRefuses(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	_, others := certificate(t)
	for path, want := range map[string]string{
		others:            "signed by unknown authority",
		roots + ".absent": "no such file",
	} {
		l := listen(t, TLS, "127.0.0.1:0", cert)
		s, log := newSender(t, TLS, l.Addr(), path)
		s.numbered(0, 1)
		conn, _ := l.accept(t)
		if n, err := conn.Read(make([]byte, 1)); err == nil {
			t.Errorf("it sends %d bytes", n)
		}
		log.wait(t, want)
	}
}

// TestTLSOtherName does not send to a collector whose certificate is for its address
// only, if it is known by a name.
func TestTLSOtherName(t *testing.T) {
	t.Parallel()
	cert, roots := certificate(t)
	l := listen(t, TLS, "127.0.0.1:0", cert)
	s, log := prepare(t, TLS, l.Addr(), roots)
	newNames(t, s, "127.0.0.1")
	s.writeState(t, online)
	s.start(t)
	s.numbered(0, 1)
	conn, _ := l.accept(t)
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("it sends %d bytes", n)
	}
	log.wait(t, "syslog_host has to be a name or an address for which the collector has its certificate")
}
