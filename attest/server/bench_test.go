package server

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

// BenchmarkAnswer is what the server does for a request but for verifying it: one with a nonce, so that two
// entries are written to the disk. Many machines come at once.
func BenchmarkAnswer(b *testing.B) {
	l := start(b, anyPolicy, func(c *Config) {
		c.Challenge = true
		c.Limits = Limits{AddressPerMinute: 1 << 30, MachinePerMinute: 1 << 30}
	})
	machines := make([]*machine, 16)
	for i := range machines {
		machines[i] = newMachine(b, fmt.Sprintf("%x", i))
	}
	b.SetParallelism(len(machines) / 2)
	next := make(chan *machine, len(machines))
	for _, m := range machines {
		next <- m
	}
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
}
