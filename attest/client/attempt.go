package client

import (
	"bytes"
	"context"
	"crypto/hpke"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

const (
	maxHeader  = 64 << 10 // bytes
	maxProblem = 16 << 10 // bytes of a refusal
	maxSaid    = 300      // characters of its message that are repeated
)

// attempt is one request, and another one if the server sends a nonce.
type attempt struct {
	Config
	ctx       context.Context
	tpm       TPM
	url       string
	transport *http.Transport
	key       hpke.PrivateKey
	claims    json.RawMessage

	request *protocol.Request
	nonce   []byte // that its quote is bound to
}

func newAttempt(ctx context.Context, t TPM, c Config, server *url.URL) (*attempt, error) {
	key, err := protocol.GenerateKey()
	if err != nil {
		return nil, fmt.Errorf("making the key of a request: %w", err)
	}
	claims, err := json.Marshal(c.Claims)
	if err != nil {
		return nil, fmt.Errorf("writing the claims: %w", err)
	}
	transport := c.transport(server.Hostname())
	return &attempt{Config: c, ctx: ctx, tpm: t, url: server.String() + protocol.Path, transport: transport, key: key, claims: claims}, nil
}

// transport is for one server, as it is after TLS: HTTP/1.1.
func (c Config) transport(name string) *http.Transport {
	return &http.Transport{
		Proxy: c.proxy,
		// It tries IPv4 as well if IPv6 is slow, RFC 6555.
		DialContext:            (&net.Dialer{Timeout: c.limits.connect, Resolver: c.resolver}).DialContext,
		TLSClientConfig:        c.Trust.TLS(name, c.Clock),
		TLSHandshakeTimeout:    c.limits.handshake,
		ResponseHeaderTimeout:  c.limits.answer,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}
}

// proxy refuses proxies with TLS, which would be checked as if they were the server.
func (c Config) proxy(r *http.Request) (*url.URL, error) {
	if c.Proxy == nil {
		return nil, nil
	}
	u, err := c.Proxy(r)
	if err == nil && u != nil && u.Scheme == "https" {
		err = errors.New("a proxy whose address begins with https:// can not be used; one with http:// can")
	}
	return u, err
}

func (a *attempt) run() (*Result, error) {
	var conn *tls.Conn
	body := &late{build: func() ([]byte, error) {
		if conn == nil {
			return nil, errors.New("the connection is not one of TLS")
		}
		state := conn.ConnectionState()
		nonce, err := state.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize)
		if err != nil {
			return nil, fmt.Errorf("binding the quote to the connection: %w", err)
		}
		return a.build(nonce, nil)
	}}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn, _ = i.Conn.(*tls.Conn) }}
	status, header, answer, err := a.post(httptrace.WithClientTrace(a.ctx, trace), body)
	if failure := body.failure(); failure != nil {
		return nil, failure
	}
	if err == nil && status == http.StatusPreconditionRequired {
		status, header, answer, err = a.again(answer)
	}
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, refusal(status, header, answer)
	}
	return a.open(answer)
}

// again answers a challenge.
func (a *attempt) again(answer []byte) (int, http.Header, []byte, error) {
	var c protocol.Challenge
	if err := json.Unmarshal(answer, &c); err != nil || len(c.Nonce) != protocol.NonceSize {
		return 0, nil, nil, &Unreachable{Err: errors.New("it asks for another request, but without a nonce")}
	}
	text, err := a.build(c.Nonce, c.Nonce)
	if err != nil {
		return 0, nil, nil, err
	}
	status, header, answer, err := a.post(a.ctx, bytes.NewReader(text))
	if err == nil && status == http.StatusPreconditionRequired {
		err = &Unreachable{Err: errors.New("it asks for another request again and again")}
	}
	return status, header, answer, err
}

// build makes the request, bound to nonce, of which shown goes with it.
func (a *attempt) build(nonce, shown []byte) ([]byte, error) {
	r, err := a.tpm.Request(nonce, a.key.PublicKey().Bytes(), a.Log, a.claims)
	if err != nil {
		return nil, fmt.Errorf("having the TPM say what this machine is: %w", err)
	}
	r.Nonce = shown
	a.request, a.nonce = r, nonce
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing the request: %w", err)
	}
	if len(text) > protocol.MaxRequest {
		return nil, fmt.Errorf("the request has %d bytes, more than %d", len(text), protocol.MaxRequest)
	}
	return text, nil
}

// post gives an error of type *Unreachable or *Untrusted.
func (a *attempt) post(ctx context.Context, body io.Reader) (status int, header http.Header, answer []byte, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url, body)
	if err != nil {
		return 0, nil, nil, &Unreachable{Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ember")
	// Not through an http.Client, which follows redirects.
	resp, err := a.transport.RoundTrip(req)
	if err != nil {
		if untrusted, ok := errors.AsType[*Untrusted](err); ok {
			return 0, nil, nil, untrusted
		}
		return 0, nil, nil, &Unreachable{Err: err}
	}
	defer resp.Body.Close()
	timer := time.AfterFunc(a.limits.body, cancel)
	defer timer.Stop()
	limit := protocol.MaxResponse
	if resp.StatusCode != http.StatusOK {
		limit = maxProblem
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case err != nil:
		return 0, nil, nil, &Unreachable{Err: fmt.Errorf("reading the answer: %w", err)}
	case len(answer) > limit:
		return 0, nil, nil, &Unreachable{Err: fmt.Errorf("the answer has more than %d bytes", limit)}
	case encoding != "":
		return 0, nil, nil, &Unreachable{Err: fmt.Errorf("the answer is in the encoding %.40q", encoding)}
	}
	return resp.StatusCode, resp.Header, answer, nil
}

// refusal is what an answer other than 200 means.
func refusal(status int, header http.Header, answer []byte) error {
	text := fmt.Sprintf("HTTP status %d %s", status, http.StatusText(status))
	switch {
	case status >= 300 && status < 400:
		return &Unreachable{Err: fmt.Errorf("%s to %.200q, which is not followed", text, header.Get("Location"))}
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests:
	case status >= 400 && status < 500:
		r := &Refused{Status: status, Code: fmt.Sprintf("http-%d", status), After: after(header)}
		var p protocol.Problem
		if json.Unmarshal(answer, &p) == nil && isCode(p.Code) {
			r.Code, r.Message = p.Code, printable(p.Message)
		}
		return r
	}
	var p protocol.Problem
	if json.Unmarshal(answer, &p) == nil && p.Message != "" {
		text += ": " + printable(p.Message)
	}
	return &Unreachable{Err: errors.New(text), After: after(header)}
}

func isCode(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// printable keeps what the server says to one line that does nothing to a terminal.
func printable(s string) string {
	runes := []rune(strings.ToValidUTF8(s, "?"))
	if len(runes) > maxSaid {
		runes = append(runes[:maxSaid], '…')
	}
	for i, r := range runes {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			runes[i] = ' '
		}
	}
	return string(runes)
}
