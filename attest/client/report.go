package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// Reporter sends reports to the server that let the machine in, over one connection if it can. Its first report
// needs the TPM's key, and so does one after the connection broke; others do not. It is for one goroutine.
type Reporter struct {
	url     string
	client  *http.Client
	receipt []byte
	limit   time.Duration
}

// NewReporter reports to the server of c.URL, whose answer r was.
func NewReporter(c Config, r *Result) (*Reporter, error) {
	server, err := ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if c.limits == (limits{}) {
		c.limits = defaults
	}
	return &Reporter{url: server.String() + protocol.ReportPath, client: c.Client(&r.Certificate), receipt: r.Receipt, limit: c.limits.attempt}, nil
}

// Send sends a report, of which Version and Receipt are filled in. The error is *Unreachable, *Untrusted or
// *Refused, or that of a report that is too large.
func (r *Reporter) Send(ctx context.Context, report protocol.Report) error {
	ctx, cancel := context.WithTimeout(ctx, r.limit)
	defer cancel()
	report.Version, report.Receipt = protocol.Version, r.receipt
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if _, err := protocol.DecodeReport(text); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(text))
	if err != nil {
		return &Unreachable{Err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "ember")
	resp, err := r.client.Do(req)
	if untrusted, ok := errors.AsType[*Untrusted](err); ok {
		return untrusted
	} else if err != nil {
		return &Unreachable{Err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		return &Unreachable{Err: fmt.Errorf("reading the answer: %w", err)}
	}
	if resp.StatusCode/100 != 2 {
		return refusal(resp.StatusCode, resp.Header, answer)
	}
	r.receipt = nil
	return nil
}

// Close ends the connection.
func (r *Reporter) Close() { r.client.CloseIdleConnections() }
