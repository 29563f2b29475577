package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// maxAnswer is the largest answer, in bytes: room for Page machines.
const maxAnswer = 8 << 20

// ErrUnknownOperator is that the server does not take the operator's key.
var ErrUnknownOperator = errors.New("the attestation server does not know this operator's key")

// Client calls a Handler. Its errors are those of store.Registry and depot.Depot where there are such, a
// *client.Untrusted, ErrUnknownOperator, or of the network.
type Client struct {
	HTTP *http.Client
	URL  string // of the server, without a path
}

// Unix is the client for a handler on a unix socket.
func Unix(socket string) *Client {
	return &Client{
		HTTP: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", socket)
			},
		}},
		URL: "http://attestd",
	}
}

// Remote is the client for a handler behind mutual TLS, at an https URL.
func Remote(server *url.URL, trust client.Trust, identity *tls.Certificate) *Client {
	c := trust.TLS(server.Hostname(), client.Clock{})
	// With GetClientCertificate it is shown whatever authorities the server names.
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return identity, nil }
	return &Client{
		HTTP: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: c},
			CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a redirect, which is not followed") },
		},
		URL: strings.TrimRight(server.String(), "/"),
	}
}

// Queue lists the machines that wait.
func (c *Client) Queue(ctx context.Context) ([]store.Waiting, error) {
	return pages(ctx, c, "/v1/queue", func(w store.Waiting) string { return w.Node })
}

// Enroll puts a machine on the list.
func (c *Client) Enroll(ctx context.Context, node, note string) error {
	return c.act(ctx, node, "enroll", note)
}

// Approve enrolls a machine of the queue.
func (c *Client) Approve(ctx context.Context, node, note string) error {
	return c.act(ctx, node, "approve", note)
}

// Dismiss takes a machine off the queue.
func (c *Client) Dismiss(ctx context.Context, node string) error {
	return c.act(ctx, node, "dismiss", "")
}

// Revoke lets a machine in no more.
func (c *Client) Revoke(ctx context.Context, node, note string) error {
	return c.act(ctx, node, "revoke", note)
}

// Forget unsays Enroll, Approve or Revoke.
func (c *Client) Forget(ctx context.Context, node string) error {
	return c.act(ctx, node, "forget", "")
}

func (c *Client) act(ctx context.Context, node, action, text string) error {
	b, err := json.Marshal(note{text})
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, "/v1/machines/"+url.PathEscape(node)+"/"+action, "application/json", bytes.NewReader(b), new(struct{}))
}

func pages[T any](ctx context.Context, c *Client, path string, node func(T) string) ([]T, error) {
	var all []T
	for after := ""; ; {
		var page []T
		if err := c.get(ctx, path+"?after="+url.QueryEscape(after), &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < Page {
			return all, nil
		}
		after = node(page[len(page)-1])
	}
}

func (c *Client) get(ctx context.Context, path string, to any) error {
	return c.call(ctx, http.MethodGet, path, "", nil, to)
}

// call decodes the answer's JSON to to.
func (c *Client) call(ctx context.Context, method, path, kind string, body io.Reader, to any) error {
	b, err := c.do(ctx, method, path, kind, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, to); err != nil {
		return fmt.Errorf("reading the attestation server's answer: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path, kind string, body io.Reader) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return nil, err
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return nil, asking(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, asking(err)
	}
	if resp.StatusCode == http.StatusOK {
		return b, nil
	}
	return nil, problem(resp.Status, b)
}

// asking is the error of a call that had no answer.
func asking(err error) error {
	// A server that does not take the client's key says so in an alert, after the handshake (RFC 8446, 4.4.2.4).
	if refused, ok := errors.AsType[*net.OpError](err); ok && refused.Op == "remote error" {
		return fmt.Errorf("%w (%w)", ErrUnknownOperator, refused.Err)
	}
	if untrusted, ok := errors.AsType[*client.Untrusted](err); ok {
		return untrusted
	}
	return fmt.Errorf("asking the attestation server: %w", err)
}

// refusal is a protocol.Problem with the error that it stands for.
type refusal struct {
	message string
	err     error
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.err }

func problem(status string, body []byte) error {
	var p protocol.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Message == "" {
		return fmt.Errorf("the attestation server answers with HTTP status %s", status)
	}
	if p.Code == CodeUnknownOperator {
		return &refusal{p.Message, ErrUnknownOperator}
	}
	for _, known := range problems {
		if p.Code == known.code {
			return &refusal{p.Message, known.err}
		}
	}
	return errors.New(p.Message)
}
