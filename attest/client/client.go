// Package client attests a machine: one request over TLS 1.3, whose quote is bound to that connection, and one
// answer that only this TPM and this process can open (package protocol; docs/attestation-protocol.md).
//
// The server is trusted by certificate authorities, by pins of keys, or both, see [Trust]. No clock is believed
// more than it deserves, see [Clock]. Nothing that the network sends can take more than a bounded time or
// memory: redirects are not followed, compressed answers not read, sessions not resumed.
//
// An error is one of these, or of the TPM:
//
//   - *[Unreachable]: there was no answer that says yes or no.
//   - *[Untrusted]: what answered is not proven to be the server.
//   - *[Refused]: the server, which has proven that it is, says no.
package client

import (
	"context"
	"crypto"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// TPM is what a round trip needs of one: *tpm.Session is it.
type TPM interface {
	// Request says what the machine is; its quote's extraData is Request.Binding(nonce).
	Request(nonce, hpkeKey, log []byte, claims json.RawMessage) (*protocol.Request, error)
	// Activate is TPM2_ActivateCredential with the EK and the AK. The error is a protocol.ErrCredential if it is not the
	// TPM's fault, but that of the arguments.
	Activate(blob, encryptedSecret []byte) ([]byte, error)
	// Signer is the key that the certificate is for.
	Signer() crypto.Signer
	// Node is the machine's name, protocol.NodeID of the EK.
	Node() string
}

// Config is what is asked of whom.
type Config struct {
	URL    string // of the server, for ParseURL
	Trust  Trust
	Clock  Clock
	Log    []byte          // the event log of the firmware; may be nil
	Claims protocol.Claims // for an operator's eyes
	// Proxy is as in http.Transport; nil for none.
	Proxy func(*http.Request) (*url.URL, error)

	// For tests; zero for the defaults.
	limits   limits
	resolver *net.Resolver
}

// limits are the longest times of the parts of an attempt.
type limits struct {
	connect   time.Duration // one TCP connection
	handshake time.Duration // TLS; a slow TPM signs in it, and may have others to sign for first
	answer    time.Duration // from the end of the request to the header of the answer
	body      time.Duration // of an answer, from its header on
	attempt   time.Duration // everything, the TPM's work too: a slow one takes 5 s for each of several commands
}

var defaults = limits{
	connect: 10 * time.Second, handshake: 30 * time.Second, answer: 30 * time.Second, body: 30 * time.Second,
	attempt: 3 * time.Minute,
}

// Result is a machine that is let in.
type Result struct {
	Grant *protocol.Grant
	// Certificate is the grant's, for the TPM's key, ready for TLS as long as the TPM's session is open.
	Certificate tls.Certificate
	// Receipt is for the first report.
	Receipt []byte
	// Doubtful says that the clock was, and Grant.Time is to be preferred.
	Doubtful bool
}

// Attest attests, or tries to: when to try again is the caller's business.
func Attest(ctx context.Context, t TPM, c Config) (*Result, error) {
	server, err := ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.limits == (limits{}) {
		c.limits = defaults
	}
	ctx, cancel := context.WithTimeout(ctx, c.limits.attempt)
	defer cancel()
	a, err := newAttempt(ctx, t, c, server)
	if err != nil {
		return nil, err
	}
	defer a.transport.CloseIdleConnections()
	return a.run()
}

// ParseURL reads a server's address: https, a host, perhaps a port and a path, which protocol.Path is put behind.
func ParseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("the attestation server's address is not a URL")
	case u.Scheme != "https":
		return nil, fmt.Errorf("the attestation server's address begins with %q, not with https://", u.Scheme)
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "":
		return nil, errors.New("the attestation server's address is not of the form https://HOST:PORT/PATH")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}
