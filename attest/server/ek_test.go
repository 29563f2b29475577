package server

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/verify"
)

func TestEK(t *testing.T) {
	t.Run("untrusted CA", func(t *testing.T) {
		l := start(t, anyPolicy)
		l.verified = unknown
		m := newMachine(t, "a")
		a := l.attest(t, m)
		l.wantRefused(t, a, 403, CodeQueued)
		if a.header.Get("Retry-After") != "60" {
			t.Errorf("it is to come again after %q", a.header.Get("Retry-After"))
		}
		queue, err := l.registry.Queue(t.Context(), "", 9)
		if err != nil || len(queue) != 1 || queue[0].Node != m.node() || queue[0].Claims.Serial != "S1" || queue[0].Address != "127.0.0.1" || queue[0].Problem != verify.EKUntrusted || l.last(t).EK != verify.EKUntrusted {
			t.Fatalf("queue %+v, %v, audit %+v", queue, err, l.last(t))
		}
		if err := l.registry.Approve(t.Context(), m.node(), "", "ann"); err != nil {
			t.Fatal(err)
		}
		if g := l.grant(t, m); g.Tier != protocol.Enrolled {
			t.Errorf("tier %s", g.Tier)
		}
	})
	t.Run("on the list", func(t *testing.T) {
		l := start(t, anyPolicy)
		l.verified = unknown
		m := newMachine(t, "a")
		s := settings(t, anyPolicy)
		s.Machines = map[string]bool{m.node(): true}
		l.Replace(s)
		if g := l.grant(t, m); g.Tier != protocol.Enrolled {
			t.Errorf("tier %s", g.Tier)
		}
		l.wantRefused(t, l.attest(t, newMachine(t, "b")), 403, CodeQueued)
	})
	t.Run("queue is full", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) { c.Queue = 1 })
		l.verified = unknown
		l.wantRefused(t, l.attest(t, newMachine(t, "a")), 403, CodeQueued)
		l.wantRefused(t, l.attest(t, newMachine(t, "b")), 403, CodeQueueFull)
		l.wantRefused(t, l.attest(t, newMachine(t, "a")), 403, CodeQueued)
	})
	t.Run("no queue", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) { c.Queue = 0 })
		l.verified = unknown
		l.wantRefused(t, l.attest(t, newMachine(t, "a")), 403, CodeUnknown)
	})
	t.Run("policy for anybody", func(t *testing.T) {
		l := start(t, "- {name: lab, tiers: [none]}")
		l.verified = unknown
		if g := l.grant(t, newMachine(t, "a")); g.Tier != protocol.None {
			t.Errorf("tier %s", g.Tier)
		}
	})
	t.Run("policy for anybody that does not hold", func(t *testing.T) {
		l := start(t, "- {name: lab, tiers: [none], pcrs: {7: "+strings.Repeat("08", 32)+"}}")
		l.verified = unknown
		l.wantRefused(t, l.attest(t, newMachine(t, "a")), 403, policy.CodePCR)
		if queue, err := l.registry.Queue(t.Context(), "", 9); err != nil || len(queue) != 0 {
			t.Errorf("queue %+v, %v", queue, err)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		l := start(t, anyPolicy)
		m := newMachine(t, "a")
		l.grant(t, m)
		if err := l.registry.Revoke(t.Context(), m.node(), "stolen", "ann"); err != nil {
			t.Fatal(err)
		}
		l.wantRefused(t, l.attest(t, m), 403, CodeRevoked)
		l.verified = unknown
		l.wantRefused(t, l.attest(t, m), 403, CodeRevoked)
		if err := l.registry.Forget(t.Context(), m.node()); err != nil {
			t.Fatal(err)
		}
		l.verified = attested
		l.grant(t, m)
	})
	t.Run("duplicate enrolment", func(t *testing.T) {
		l := start(t, anyPolicy)
		l.verified = unknown
		m := newMachine(t, "a")
		l.wantRefused(t, l.attest(t, m), 403, CodeQueued)
		l.wantRefused(t, l.attest(t, m), 403, CodeQueued)
		if queue, err := l.registry.Queue(t.Context(), "", 9); err != nil || len(queue) != 1 {
			t.Errorf("queue %+v, %v", queue, err)
		}
		if err := l.registry.Enroll(t.Context(), m.node(), "", "ann"); err != nil {
			t.Fatal(err)
		}
		if err := l.registry.Enroll(t.Context(), m.node(), "", "bob"); !errors.Is(err, store.ErrEnrolled) {
			t.Errorf("again: %v", err)
		}
		l.grant(t, m)
	})
	t.Run("the same EK twice at once", func(t *testing.T) {
		meet := &meeting{Store: openStore(t), prefix: "attested/", both: make(chan struct{})}
		l := start(t, anyPolicy, func(c *Config) { c.Registry = store.NewRegistry(meet, c.Now) })
		var all sync.WaitGroup
		answers := make([]answer, 2)
		for i := range answers {
			m := newMachine(t, "a")
			client, nonce := l.dial(t)
			body := encode(t, m.request(t, nonce))
			all.Go(func() { answers[i] = l.post(t, client, body) })
		}
		all.Wait()
		if answers[0].status == 200 {
			answers[0], answers[1] = answers[1], answers[0]
		}
		if answers[1].status != 200 || answers[0].status != 429 || answers[0].problem.Code != CodeConcurrent || answers[0].header.Get("Retry-After") != "1" {
			t.Errorf("status %d and %d, %+v", answers[0].status, answers[1].status, answers[0].problem)
		}
		codes := make(map[string]int)
		for _, r := range l.records(t) {
			codes[r.Code]++
		}
		if codes[CodeAllowed] != 1 || codes[CodeConcurrent] != 1 {
			t.Errorf("the audit log has %v", codes)
		}
	})
}

// meeting has the first two Gets of a prefix wait for each other.
type meeting struct {
	store.Store
	prefix string
	mu     sync.Mutex
	n      int
	both   chan struct{}
}

func (m *meeting) Get(ctx context.Context, key string) (store.Entry, error) {
	e, err := m.Store.Get(ctx, key)
	if strings.HasPrefix(key, m.prefix) {
		m.mu.Lock()
		if m.n++; m.n == 2 {
			close(m.both)
		}
		m.mu.Unlock()
		<-m.both
	}
	return e, err
}
