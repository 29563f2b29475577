package load

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
	"github.com/ember-os/ember/os/vm/vmtest"
)

var (
	machineCount = flag.Int("machines", 10_000, "how many machines the benchmark makes")
	outputFolder = flag.String("outputs", os.TempDir(), "where the benchmark's picture goes outside of Bazel")
)

const (
	group   = 200
	workers = 64
	// seconds is how long a rate is kept up, if there are as many machines.
	seconds = 15.0
)

// rates are those of the paced runs; the aim is at half of 800/s.
var rates = []float64{100, 200, 300, 400, 500}

// BenchmarkServer is the real attestd on this machine, with an empty store: all machines, as many as -machines
// says, as fast as it goes, then some of them at each rate. It draws what has come out.
func BenchmarkServer(b *testing.B) {
	machines := fleet(b, *machineCount, 2)
	var panels []Panel
	for _, c := range []struct {
		title, binding string
		etcd           bool
	}{
		{"TLS in attestd, bolt", "connection", false},
		{"challenge, bolt", "challenge", false},
		{"challenge, etcd", "challenge", true},
	} {
		b.Run(c.title, func(b *testing.B) {
			for b.Loop() {
				p := Panel{Title: c.title}
				p.Most = once(b, machines, c.binding, c.etcd, 0)
				for _, rate := range rates {
					n := min(len(machines), int(rate*seconds))
					r := once(b, machines[:n], c.binding, c.etcd, rate)
					p.Paced = append(p.Paced, Paced{rate, r})
					if rate == aimRate/2 {
						b.ReportMetric(float64(Percentile(r.Both, 99).Microseconds())/1000, "p99-ms-at-half")
					}
				}
				b.ReportMetric(p.Most.Rate(), "machines/s")
				b.ReportMetric(p.Most.RateOf(processors), "machines/s-by-two")
				b.ReportMetric(float64(p.Most.CPUEach().Microseconds()), "CPU-µs/machine")
				b.ReportMetric(float64(p.Most.Memory)/1e6, "MB")
				panels = append(panels, p)
			}
		})
	}
	var chart bytes.Buffer
	title := fmt.Sprintf("attestd and %d machines, on %d processors", len(machines), runtime.NumCPU())
	if err := WriteChart(&chart, title, panels); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(vmtest.Outputs(b, "load", *outputFolder), "load.svg")
	if err := os.WriteFile(path, chart.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	b.Log(path)
}

// once has all machines attest at a new server.
func once(b *testing.B, machines []*Machine, binding string, etcd bool, rate float64) *Result {
	b.Helper()
	store := ""
	if etcd {
		member := etcdtest.Start(b, 1, nil)[0]
		defer member.Kill()
		store = fmt.Sprintf("store: {etcd: {endpoints: [%q]}}\n", member.Endpoint())
	}
	s := startTarget(b, binding, store)
	defer s.Kill()
	r, err := Run(b.Context(), machines, Config{
		Address: s.Address, TLS: s.tls, Challenge: binding == "challenge", Group: group, Workers: workers, Rate: rate,
		Meter: func() Usage { return s.usage(b) },
	})
	if err != nil {
		b.Fatal(err)
	}
	if len(r.Refused) > 0 {
		b.Errorf("refused: %v", r.Refused)
	}
	if nodes := s.allowed(b); len(nodes) != len(machines) {
		b.Errorf("%d machines were let in, not %d", len(nodes), len(machines))
	}
	b.Logf("%s, rate %.0f: %v", binding, rate, r)
	return r
}
