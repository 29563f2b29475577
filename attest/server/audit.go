package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

// Audit writes one line of JSON for every decision. Nothing in it is secret: no keys, no nonces, no grants.
type Audit struct {
	handler slog.Handler
	failed  func(error)
}

// NewAudit writes to w. Failed is told when that fails; a grant without a line is not given.
func NewAudit(w io.Writer, failed func(error)) *Audit {
	return &Audit{slog.NewJSONHandler(&locked{w: w}, &slog.HandlerOptions{ReplaceAttr: dropLevel}), failed}
}

// dropLevel drops what is the same in every line.
func dropLevel(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.LevelKey {
		return slog.Attr{}
	}
	return a
}

// locked writes whole lines.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// Verdict is what was decided.
type Verdict string

const (
	Allow  Verdict = "allow"
	Refuse Verdict = "refuse"
	Queue  Verdict = "queue" // refused for now: an operator is asked
)

// CodeAllowed is the code of a grant.
const CodeAllowed = store.Granted

// decision is a line of the audit log, about an attestation or a fetch.
type decision struct {
	start       time.Time
	address     netip.Addr
	node        string
	verdict     Verdict
	code        string
	reason      string
	policy      string
	tier        protocol.Tier
	ek          string // why the EK's certificate does not make the machine attested
	overlay     string
	version     uint64
	image       string // the machine's word
	certificate string // serial number of the one that was issued

	// What records have besides. Evidence is nil for what is no decision about a machine: its request was not
	// verified, or there were too many.
	evidence *verify.Evidence
	compared policy.Comparison
	known    bool // it is enrolled in a file
}

// maxText is the longest text that comes from outside, in bytes.
const maxText = 512

func (a *Audit) decision(ctx context.Context, d *decision, now time.Time) error {
	return a.write(ctx, now, "attestation", d.attrs(now)...)
}

// fetch writes down how many bytes of an overlay's ciphertext were sent. They are, whether or not it can be written
// down.
func (a *Audit) fetch(ctx context.Context, d *decision, sent int64, now time.Time) {
	a.write(ctx, now, "fetch", append(d.attrs(now), slog.Int64("bytes", sent))...)
}

func (d *decision) attrs(now time.Time) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("decision", string(d.verdict)),
		slog.String("code", d.code),
		slog.String("address", addressText(d.address)),
	}
	for _, f := range []struct{ key, value string }{
		{"node", d.node}, {"reason", d.reason}, {"policy", d.policy}, {"tier", string(d.tier)}, {"ek", d.ek},
		{"image", d.image}, {"overlay", d.overlay}, {"certificate", d.certificate},
	} {
		if f.value != "" {
			attrs = append(attrs, slog.String(f.key, f.value[:min(len(f.value), maxText)]))
		}
	}
	if d.version != 0 {
		attrs = append(attrs, slog.Uint64("overlayVersion", d.version))
	}
	return append(attrs, slog.Float64("ms", float64(now.Sub(d.start).Microseconds())/1000))
}

// Operator writes down what an operator has done.
func (a *Audit) Operator(ctx context.Context, now time.Time, o admin.Action) error {
	attrs := []slog.Attr{slog.String("by", o.By), slog.String("action", o.Action)}
	if o.Node != "" {
		attrs = append(attrs, slog.String("node", o.Node[:min(len(o.Node), maxText)]))
	}
	if o.Overlay != "" {
		attrs = append(attrs, slog.String("overlay", o.Overlay[:min(len(o.Overlay), maxText)]))
	}
	if o.Version != 0 {
		attrs = append(attrs, slog.Uint64("overlayVersion", o.Version))
	}
	if o.Err != nil {
		attrs = append(attrs, slog.String("error", o.Err.Error()))
	}
	return a.write(ctx, now, "operator", attrs...)
}

// report writes down that a machine has said how it is.
func (a *Audit) report(ctx context.Context, now time.Time, node, from, certificate, stage, health string) error {
	return a.write(ctx, now, "report", slog.String("address", from), slog.String("node", node),
		slog.String("certificate", certificate), slog.String("stage", stage), slog.String("health", health))
}

// reportRefused writes down that a machine's report was not taken. It is not, whether or not that can be written down.
func (a *Audit) reportRefused(ctx context.Context, d *decision, now time.Time) {
	a.write(ctx, now, "report", d.attrs(now)...)
}

func (a *Audit) write(ctx context.Context, now time.Time, message string, attrs ...slog.Attr) error {
	r := slog.NewRecord(now.UTC(), slog.LevelInfo, message, 0)
	r.AddAttrs(attrs...)
	if err := a.handler.Handle(ctx, r); err != nil {
		err = fmt.Errorf("writing the audit log: %w", err)
		a.failed(err)
		return err
	}
	return nil
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
