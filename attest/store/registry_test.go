package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

var (
	nodeA = strings.Repeat("a", 64)
	nodeB = strings.Repeat("b", 64)
	nodeC = strings.Repeat("c", 64)
)

// open gives a registry whose time is *now.
func open(t *testing.T) (*store.Registry, *time.Time) {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return store.NewRegistry(s, func() time.Time { return now }), &now
}

func TestMachines(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	if _, err := r.Machine(ctx, nodeA); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("an unknown machine: %v", err)
	}
	for _, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"enroll", func() error { return r.Enroll(ctx, nodeA, "rack 4", "ann") }, nil},
		{"enroll twice", func() error { return r.Enroll(ctx, nodeA, "rack 5", "bob") }, store.ErrEnrolled},
		{"revoke", func() error { return r.Revoke(ctx, nodeA, "stolen", "bob") }, nil},
		{"revoke twice", func() error { return r.Revoke(ctx, nodeA, "stolen", "bob") }, nil},
		{"enroll a revoked one", func() error { return r.Enroll(ctx, nodeA, "", "bob") }, store.ErrRevoked},
		{"revoke an unknown one", func() error { return r.Revoke(ctx, nodeB, "", "bob") }, nil},
		{"forget", func() error { return r.Forget(ctx, nodeB) }, nil},
		{"forget twice", func() error { return r.Forget(ctx, nodeB) }, store.ErrNotFound},
		{"approve what is not in the queue", func() error { return r.Approve(ctx, nodeB, "", "bob") }, store.ErrNotFound},
		{"enroll another", func() error { return r.Enroll(ctx, nodeC, "", "ann") }, nil},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	want := []store.Machine{
		{Node: nodeA, State: store.Revoked, Note: "stolen", By: "bob", Time: *now},
		{Node: nodeC, State: store.Enrolled, By: "ann", Time: *now},
	}
	for _, m := range want {
		if got, err := r.Machine(ctx, m.Node); err != nil || got != m {
			t.Errorf("it is %+v, %v, not %+v", got, err, m)
		}
	}
	if got, err := r.Machine(ctx, nodeB); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was forgotten: %+v, %v", got, err)
	}
	for _, name := range []string{"", "a", strings.ToUpper(nodeA), nodeA + "aa", "../" + nodeA[3:]} {
		if err := r.Enroll(ctx, name, "", "ann"); err == nil {
			t.Errorf("%q was enrolled", name)
		}
	}
}

func TestQueue(t *testing.T) {
	r, now := open(t)
	ctx := t.Context()
	enqueue := func(node, address string) (bool, error) {
		return r.Enqueue(ctx, store.Waiting{Node: node, Address: address, Claims: protocol.Claims{Serial: "S1"}}, 2)
	}
	start := *now
	if first, err := enqueue(nodeA, "192.0.2.1"); err != nil || !first {
		t.Fatalf("first: %v, %v", first, err)
	}
	*now = now.Add(time.Hour)
	if first, err := enqueue(nodeA, "192.0.2.2"); err != nil || first {
		t.Errorf("again: %v, %v", first, err)
	}
	want := store.Waiting{Node: nodeA, First: start, Last: *now, Address: "192.0.2.2", Claims: protocol.Claims{Serial: "S1"}}
	if got, err := r.Queue(ctx, "", 9); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("queue: %+v, %v", got, err)
	}
	if _, err := enqueue(nodeB, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := enqueue(nodeC, ""); !errors.Is(err, store.ErrFull) {
		t.Errorf("a third of two: %v", err)
	}
	if _, err := enqueue(nodeA, "192.0.2.3"); err != nil {
		t.Errorf("one of a full queue again: %v", err)
	}
	if err := r.Approve(ctx, nodeA, "", "ann"); err != nil {
		t.Fatal(err)
	}
	if m, err := r.Machine(ctx, nodeA); err != nil || m.State != store.Enrolled || m.By != "ann" {
		t.Errorf("approved: %+v, %v", m, err)
	}
	if err := r.Revoke(ctx, nodeB, "", "ann"); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Queue(ctx, "", 9); err != nil || len(got) != 0 {
		t.Errorf("the queue afterwards: %+v, %v", got, err)
	}
	if err := r.Dismiss(ctx, nodeA); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("dismissing what is not in it: %v", err)
	}
}

func TestNonce(t *testing.T) {
	r, _ := open(t)
	results := make([]error, 8)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i] = r.UseNonce(t.Context(), []byte("nonce"), time.Minute) })
	}
	all.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, store.ErrUsed) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("it was used %d times", won)
	}
}

func TestPublish(t *testing.T) {
	r, _ := open(t)
	for _, step := range []struct {
		version uint64
		want    error
	}{{7, nil}, {7, nil}, {6, store.ErrOlder}, {10, nil}, {9, store.ErrOlder}} {
		if err := r.Publish(t.Context(), "base", step.version); !errors.Is(err, step.want) {
			t.Errorf("version %d: %v", step.version, err)
		}
	}
	if err := r.Publish(t.Context(), "other", 1); err != nil {
		t.Error(err)
	}
}

func TestSecret(t *testing.T) {
	r, _ := open(t)
	for _, candidate := range []string{"one", "two"} {
		if b, err := r.Secret(t.Context(), "nonces", []byte(candidate)); err != nil || string(b) != "one" {
			t.Errorf("%q, %v", b, err)
		}
	}
}
