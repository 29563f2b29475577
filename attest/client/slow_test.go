package client

import (
	"bufio"
	"context"
	"crypto"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// slowKey is one in a TPM that takes 5 s for a command, and has two others to do first.
type slowKey struct{ crypto.Signer }

func (k slowKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	time.Sleep(3 * 5 * time.Second)
	return k.Signer.Sign(random, digest, opts)
}

// TestSlowKey has a machine with a slow TPM show its certificate.
func TestSlowKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		from, to := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
		server, machine := ca.issue(t, from, to), ca.issue(t, from, to)
		machine.PrivateKey = slowKey{machine.PrivateKey.(crypto.Signer)}
		near, far := net.Pipe()
		go func() {
			conn := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAnyClientCert})
			if err := conn.Handshake(); err != nil {
				t.Error(err)
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				t.Error(err)
			}
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
			io.Copy(io.Discard, conn)
		}()
		c := Config{URL: "https://test.example", Trust: Trust{Roots: ca.pool()}}.Client(&machine)
		c.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return near, nil }
		response, err := c.Get("https://test.example")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		c.CloseIdleConnections()
	})
}
