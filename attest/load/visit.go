package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// patience is the longest time of one step.
const patience = time.Minute

// visit is one machine's attestation.
type visit struct {
	machine *Machine
	config  Config

	conn    *tls.Conn
	read    *bufio.Reader
	first   []byte // the request without a quote, if there is a challenge
	nonce   []byte
	request []byte

	opened, asked time.Duration // what the steps took
	status        int
	code          string
	err           error
}

func newVisits(machines []*Machine, c Config) []*visit {
	visits := make([]*visit, len(machines))
	for i, m := range machines {
		visits[i] = &visit{machine: m, config: c}
		if c.Challenge {
			visits[i].first, visits[i].err = m.unsigned()
		}
	}
	return visits
}

// open connects, and gets what the quote is bound to.
func (v *visit) open(ctx context.Context, due time.Time) {
	if v.err == nil {
		v.err = v.connect(ctx)
	}
	v.opened = time.Since(due)
}

func (v *visit) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&tls.Dialer{Config: v.config.TLS}).DialContext(ctx, "tcp", v.config.Address)
	if err != nil {
		return err
	}
	v.conn = conn.(*tls.Conn)
	v.read = bufio.NewReader(conn)
	if !v.config.Challenge {
		state := v.conn.ConnectionState()
		v.nonce, err = state.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize)
		return err
	}
	status, answer, err := v.post(v.first)
	if err != nil {
		return err
	}
	var c protocol.Challenge
	if err := json.Unmarshal(answer, &c); err != nil || status != http.StatusPreconditionRequired {
		return fmt.Errorf("status %d where there should be a challenge", status)
	}
	v.nonce = c.Nonce
	return nil
}

// prepare has the TPM quote.
func (v *visit) prepare() (err error) {
	if v.err != nil { // it has failed before
		return nil
	}
	var shown []byte
	if v.config.Challenge {
		shown = v.nonce
	}
	v.request, err = v.machine.request(v.nonce, shown)
	return err
}

// ask sends the request and reads the answer.
func (v *visit) ask(_ context.Context, due time.Time) {
	if v.err == nil {
		var answer []byte
		if v.status, answer, v.err = v.post(v.request); v.status != http.StatusOK {
			var p protocol.Problem
			json.Unmarshal(answer, &p) // without a code, the status says it
			v.code = p.Code
		}
	}
	v.asked = time.Since(due)
}

// post is one exchange of HTTP/1.1 on the connection.
func (v *visit) post(body []byte) (status int, answer []byte, err error) {
	if err := v.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequest(http.MethodPost, "https://"+v.config.Address+protocol.Path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	w := bufio.NewWriterSize(v.conn, 16<<10)
	if err := req.Write(w); err != nil {
		return 0, nil, err
	}
	if err := w.Flush(); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(v.read, req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, protocol.MaxResponse))
	return resp.StatusCode, answer, err
}

// outcome is why the machine was not let in, or nothing. It names no ports, so that many have the same.
func (v *visit) outcome() string {
	if network, ok := errors.AsType[*net.OpError](v.err); ok {
		return fmt.Sprintf("%s: %v", network.Op, network.Err)
	}
	switch {
	case v.err != nil:
		return v.err.Error()
	case v.status != http.StatusOK:
		return fmt.Sprintf("status %d %s", v.status, v.code)
	}
	return ""
}

// close ends the connection, and forgets what is large.
func (v *visit) close() {
	if v.conn != nil {
		v.conn.Close()
	}
	v.conn, v.read, v.first, v.request = nil, nil, nil, nil
}
