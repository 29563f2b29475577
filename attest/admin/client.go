package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// maxAnswer is the largest answer, in bytes: room for Page machines.
const maxAnswer = 8 << 20

// Client calls a Handler. Its errors are those of store.Registry where there are such.
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

// Queue lists the machines that wait.
func (c *Client) Queue(ctx context.Context) ([]store.Waiting, error) {
	return pages(ctx, c, "/v1/queue", func(w store.Waiting) string { return w.Node })
}

// Machines lists those that are enrolled or revoked.
func (c *Client) Machines(ctx context.Context) ([]store.Machine, error) {
	return pages(ctx, c, "/v1/machines", func(m store.Machine) string { return m.Node })
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
	return c.call(ctx, http.MethodPost, "/v1/machines/"+url.PathEscape(node)+"/"+action, bytes.NewReader(b), new(struct{}))
}

func pages[T any](ctx context.Context, c *Client, path string, node func(T) string) ([]T, error) {
	var all []T
	for after := ""; ; {
		var page []T
		if err := c.call(ctx, http.MethodGet, path+"?after="+url.QueryEscape(after), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < Page {
			return all, nil
		}
		after = node(page[len(page)-1])
	}
}

func (c *Client) call(ctx context.Context, method, path string, body io.Reader, to any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.URL+path, body)
	if err != nil {
		return err
	}
	resp, err := c.HTTP.Do(r)
	if err != nil {
		return fmt.Errorf("asking the attestation server: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("asking the attestation server: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(b, to); err != nil {
			return fmt.Errorf("reading the attestation server's answer: %w", err)
		}
		return nil
	}
	var p protocol.Problem
	if err := json.Unmarshal(b, &p); err != nil || p.Message == "" {
		return fmt.Errorf("the attestation server answers with HTTP status %s", resp.Status)
	}
	for _, known := range problems {
		if p.Code == known.code {
			return known.err
		}
	}
	return errors.New(p.Message)
}
