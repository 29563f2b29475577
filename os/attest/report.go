package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/stage"
)

const (
	// firstReport is how long the TPM's key may be kept for the first report, before PCR 11 is extended.
	firstReport = 10 * time.Second
	// lookEvery is how often the machine looks whether there is something new, sendEvery how often it reports even so,
	// which keeps the connection, and lastReport when it stops.
	lookEvery  = 5 * time.Second
	sendEvery  = 30 * time.Second
	lastReport = 5 * time.Minute
)

// reports tells the server how the boot goes on, over one connection that the TPM's key opens. Nothing waits for it
// but the TPM, for a moment, and nothing fails because of it.
type reports struct {
	log    *slog.Logger
	send   func(context.Context, protocol.Report) error
	end    func()                 // the connection
	gather func() protocol.Report // without a status
	status func(context.Context) json.RawMessage

	cancel context.CancelFunc
	first  chan struct{} // closed when the TPM's key is not needed any more
	done   chan struct{}
}

// report begins reports to the server that has let the machine in.
func (p *program) report(ctx context.Context, result *client.Result) (*reports, error) {
	c, _, err := p.config()
	if err != nil {
		return nil, err
	}
	reporter, err := client.NewReporter(c, result)
	if err != nil {
		return nil, err
	}
	r := &reports{
		log: p.log, send: reporter.Send, end: reporter.Close,
		gather: func() protocol.Report { return gather(logs.Dir, health.Path) },
		status: func(ctx context.Context) json.RawMessage { return readStatus(ctx, p.log) },
	}
	r.start(ctx)
	return r, nil
}

func (r *reports) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	r.first, r.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(r.done)
		defer r.end()
		defer r.cancel()
		r.run(ctx)
	}()
}

// run reports until the boot is over, the server does not take it, or ctx ends.
func (r *reports) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastReport)
	defer cancel()
	err := r.sendFirst(ctx, r.gather())
	close(r.first)
	for err == nil && ctx.Err() == nil {
		report := r.gather()
		report.Status = r.status(ctx) // takes a while, and so is not in the first one
		if err = r.send(ctx, report); err != nil || report.Health.State == healthy {
			break
		}
		r.awaitNews(ctx, report)
	}
	if err != nil && ctx.Err() == nil {
		r.log.Info("the attestation server gets no more reports of this boot", "err", err)
	}
}

// awaitNews waits until there is something to report, or it is time to report all the same.
func (r *reports) awaitNews(ctx context.Context, sent protocol.Report) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for end := time.Now().Add(sendEvery); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !same(r.gather(), sent) || time.Now().After(end) {
			return
		}
	}
}

// sendFirst tries for as long as the TPM's key is there.
func (r *reports) sendFirst(ctx context.Context, report protocol.Report) error {
	ctx, cancel := context.WithTimeout(ctx, firstReport)
	defer cancel()
	for {
		err := r.send(ctx, report)
		if _, gone := errors.AsType[*client.Unreachable](err); !gone {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// proved waits until the TPM's key is not needed. A nil r needs none.
func (r *reports) proved() {
	if r != nil {
		<-r.first
	}
}

// stop ends reports; wait waits for their end. A nil r has none.
func (r *reports) stop() {
	if r != nil {
		r.cancel()
		<-r.done
	}
}

func (r *reports) wait() {
	if r != nil {
		<-r.done
	}
}

// The words for health, as docs/attestation-protocol.md has them.
const (
	healthy  = "healthy"
	starting = "starting"
	failing  = "failing"
)

func same(a, b protocol.Report) bool { return slices.Equal(a.Stages, b.Stages) && a.Health == b.Health }

// gather is what the log and the health of this machine say. What cannot be read is left out.
func gather(log, state string) protocol.Report {
	report := protocol.Report{Stages: stages(log)}
	b, err := os.ReadFile(state)
	if errors.Is(err, fs.ErrNotExist) {
		return report // nobody looks at the node's health
	}
	var h health.Report
	if err != nil || json.Unmarshal(b, &h) != nil {
		return report
	}
	switch {
	case h.Healthy:
		report.Health.State = healthy
	case slices.ContainsFunc(h.Checks, func(c health.Check) bool { return c.Failed > 0 }):
		report.Health.State = failing
	default:
		report.Health.State = starting
	}
	if !h.Healthy {
		report.Health.Why = shorten(h.Why(), maxWhy)
	}
	return report
}

// stages are the stage lines that init has logged, the newest if they are too many.
func stages(dir string) []string {
	r := logs.NewReader(dir, logs.Init)
	defer r.Close()
	entries, err := r.Next()
	if err != nil {
		return nil
	}
	lines := []string{}
	size := 0
	for _, e := range slices.Backward(entries) {
		line, ok := stage.Parse("ember: " + e.Text)
		if !ok {
			continue
		}
		text := line.String()
		if len(text) > maxStage {
			continue
		}
		if size += len(text); size > maxStages || len(lines) == protocol.MaxStages {
			break
		}
		lines = append(lines, text)
	}
	slices.Reverse(lines)
	return lines
}

// What a report may have, in bytes.
const (
	maxStage  = 512
	maxStages = 12 << 10
	maxWhy    = 512
)

func shorten(s string, most int) string {
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// readStatus is what "ember status --json" prints: a process of its own, since it parses what devices say.
func readStatus(ctx context.Context, log *slog.Logger) json.RawMessage {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "status", "--json")
	cmd.Args[0] = "ember"
	out, err := cmd.Output()
	var b bytes.Buffer
	if err == nil {
		err = json.Compact(&b, out)
	}
	if err == nil && b.Len() > protocol.MaxStatus {
		err = fmt.Errorf("it has %d bytes, more than %d", b.Len(), protocol.MaxStatus)
	}
	if err != nil {
		if ctx.Err() == nil {
			log.Info("a report goes without the machine's status", "err", err)
		}
		return nil
	}
	return b.Bytes()
}
