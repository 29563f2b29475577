package server

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/attest/verify"
)

// BenchmarkAnswer is what the server does for a request but for verifying it: one with a nonce, so that two
// entries are written to the disk. Many machines come at once, so that they share writes. The metric
// "answers/core-s" is how many would be answered in a second of a processor's time: what the machine does beside
// it, and its disk, do not count.
func BenchmarkAnswer(b *testing.B) { benchmark(b, nil) }

// BenchmarkVerifyAndAnswer verifies a real TPM's request with a log of a hundred events each time.
func BenchmarkVerifyAndAnswer(b *testing.B) {
	m := boot(b, "real")
	nonce := make([]byte, protocol.NonceSize)
	fixed := m.ask(b, nonce)
	roots := attesttest.Roots(b)
	benchmark(b, func(r *protocol.Request, n []byte, o verify.Options) (*verify.Evidence, error) {
		o.Roots = roots
		if _, err := verify.Verify(fixed, nonce, o); err != nil {
			return nil, err
		}
		return attested(r, n, o)
	})
}

func benchmark(b *testing.B, verified func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error)) {
	l := start(b, anyPolicy, func(c *Config) {
		c.Challenge = true
		unlimited(c)
	})
	if verified != nil {
		l.verified = verified
	}
	machines := make([]*machine, 64)
	for i := range machines {
		machines[i] = newMachine(b, string(rune(32+i)))
	}
	b.SetParallelism(len(machines) / 2)
	next := make(chan *machine, len(machines))
	for _, m := range machines {
		next <- m
	}
	before := processorTime(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m := <-next
			nonce := l.nonces.issue(l.Now())
			m.edit = func(r *protocol.Request) { r.Nonce = nonce }
			w, r := l.recorded(b, m.request(b, nonce))
			l.ServeHTTP(w, r)
			next <- m
			if w.Code != http.StatusOK {
				b.Errorf("status %d: %s", w.Code, w.Body)
			}
		}
	})
	b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "answers/core-s")
}

// BenchmarkAttest is an attestation, with swtpm, the client, TLS, the server, its checks and its store: the time from
// when the machine has its keys, which it makes while its network comes up, and the time with that.
func BenchmarkAttest(b *testing.B) {
	m := boot(b, "real")
	l := startReal(b, "- {name: all, tiers: [attested]}", unlimited)
	c := client.Config{URL: l.http.URL, Trust: client.Trust{Pins: []client.Pin{client.PinOf(l.http.Certificate())}}, Log: m.log}
	attest := func(b *testing.B, s *tpm.Session) {
		if _, err := client.Attest(b.Context(), s, c); err != nil {
			b.Fatal(err)
		}
	}
	report := func(b *testing.B) { b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms/attestation") }
	b.Run("with keys", func(b *testing.B) {
		for b.Loop() {
			attest(b, m.Session)
		}
		report(b)
	})
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("from nothing", func(b *testing.B) {
		for b.Loop() {
			s, err := tpm.Start(m.tpm)
			if err != nil {
				b.Fatal(err)
			}
			attest(b, s)
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
}

func unlimited(c *Config) { c.Limits = Limits{AddressPerMinute: 1 << 30, MachinePerMinute: 1 << 30} }

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
