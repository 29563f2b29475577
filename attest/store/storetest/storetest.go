// Package storetest is what every store.Store must pass.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/store"
)

// patience is how long an entry that has ended may stay.
const patience = 30 * time.Second

// Run runs the tests, each in a store of its own: open makes an empty one.
func Run(t *testing.T, open func(*testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"get", get},
		{"put compares", putCompares},
		{"delete compares", deleteCompares},
		{"list", list},
		{"lease", lease},
		{"limits", limits},
		{"values are the store's own", ownValues},
		{"context", ended},
		{"one of many wins", oneWins},
		{"increments are not lost", increments},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func put(t *testing.T, s store.Store, key, value string, revision uint64) uint64 {
	t.Helper()
	next, err := s.Put(t.Context(), key, []byte(value), revision, store.Forever)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func want(t *testing.T, s store.Store, key, value string, revision uint64) {
	t.Helper()
	e, err := s.Get(t.Context(), key)
	if err != nil || e.Key != key || string(e.Value) != value || e.Revision != revision {
		t.Errorf("%s is %+v, %v; want %q of revision %d", key, e, err, value, revision)
	}
}

func get(t *testing.T, s store.Store) {
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	first := put(t, s, "a", "one", 0)
	if first == 0 {
		t.Error("the first revision is 0")
	}
	want(t, s, "a", "one", first)
	second := put(t, s, "a", "", first)
	if second <= first {
		t.Errorf("revision %d after %d", second, first)
	}
	want(t, s, "a", "", second)
	if _, err := s.Get(t.Context(), "a/b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("another key: %v", err)
	}
}

func putCompares(t *testing.T, s store.Store) {
	conflict := func(revision uint64) {
		t.Helper()
		if _, err := s.Put(t.Context(), "a", []byte("wrong"), revision, store.Forever); !errors.Is(err, store.ErrConflict) {
			t.Errorf("put at revision %d: %v", revision, err)
		}
	}
	conflict(1)
	first := put(t, s, "a", "one", 0)
	conflict(0)
	conflict(first + 1)
	second := put(t, s, "a", "two", first)
	conflict(first)
	want(t, s, "a", "two", second)
}

func deleteCompares(t *testing.T, s store.Store) {
	if err := s.Delete(t.Context(), "a", 0); !errors.Is(err, store.ErrConflict) {
		t.Errorf("delete of what is not there: %v", err)
	}
	first := put(t, s, "a", "one", 0)
	for _, wrong := range []uint64{0, first + 1} {
		if err := s.Delete(t.Context(), "a", wrong); !errors.Is(err, store.ErrConflict) {
			t.Errorf("delete at revision %d: %v", wrong, err)
		}
	}
	if err := s.Delete(t.Context(), "a", first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after: %v", err)
	}
	if again := put(t, s, "a", "two", 0); again <= first {
		t.Errorf("revision %d after %d", again, first)
	}
}

func list(t *testing.T, s store.Store) {
	for _, key := range []string{"b/2", "a/1", "b/1", "b/3", "b", "c/1", "b0"} {
		put(t, s, key, "of "+key, 0)
	}
	for _, test := range []struct {
		prefix, after string
		limit         int
		want          string
	}{
		{"", "", 9, "a/1 b b/1 b/2 b/3 b0 c/1"},
		{"b/", "", 9, "b/1 b/2 b/3"},
		{"b/", "", 2, "b/1 b/2"},
		{"b/", "b/2", 2, "b/3"},
		{"b/", "b/3", 2, ""},
		{"b/", "b/25", 2, "b/3"},
		{"b/", "a", 1, "b/1"},
		{"b/", "c", 9, ""},
		{"d", "", 9, ""},
		{"", "", 0, ""},
	} {
		entries, err := s.List(t.Context(), test.prefix, test.after, test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var keys []string
		for _, e := range entries {
			keys = append(keys, e.Key)
			if string(e.Value) != "of "+e.Key || e.Revision == 0 {
				t.Errorf("%+v", e)
			}
		}
		if got := strings.Join(keys, " "); got != test.want {
			t.Errorf("prefix %q after %q, %d: %q, want %q", test.prefix, test.after, test.limit, got, test.want)
		}
	}
}

func lease(t *testing.T, s store.Store) {
	for key, life := range map[string]time.Duration{"long": time.Hour, "short": time.Second, "mended": time.Second} {
		if _, err := s.Put(t.Context(), key, []byte("v"), 0, life); err != nil {
			t.Fatal(err)
		}
	}
	e, err := s.Get(t.Context(), "mended")
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "mended", "for ever", e.Revision)
	deadline := time.Now().Add(patience)
	for {
		if _, err := s.Get(t.Context(), "short"); errors.Is(err, store.ErrNotFound) {
			break
		} else if err != nil || time.Now().After(deadline) {
			t.Fatalf("it is still there: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	entries, err := s.List(t.Context(), "", "", 9)
	if err != nil || len(entries) != 2 || entries[0].Key != "long" || entries[1].Key != "mended" {
		t.Errorf("left: %+v, %v", entries, err)
	}
	put(t, s, "short", "again", 0)
}

func limits(t *testing.T, s store.Store) {
	longest, largest := strings.Repeat("k", store.MaxKey), strings.Repeat("v", store.MaxValue)
	want(t, s, longest, largest, put(t, s, longest, largest, 0))
	for key, value := range map[string]string{"": "", longest + "k": "", "a": largest + "v"} {
		if _, err := s.Put(t.Context(), key, []byte(value), 0, store.Forever); err == nil {
			t.Errorf("a key of %d bytes and a value of %d were taken", len(key), len(value))
		}
	}
}

func ownValues(t *testing.T, s store.Store) {
	value := []byte("one")
	revision, err := s.Put(t.Context(), "a", value, 0, store.Forever)
	if err != nil {
		t.Fatal(err)
	}
	value[0] = 'x'
	e, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	e.Value[1] = 'x'
	want(t, s, "a", "one", revision)
}

func ended(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err1 := s.Get(ctx, "a")
	_, err2 := s.List(ctx, "", "", 1)
	_, err3 := s.Put(ctx, "a", nil, 0, store.Forever)
	err4 := s.Delete(ctx, "a", 1)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
}

const many = 16

// oneWins is what makes nonces single use.
func oneWins(t *testing.T, s store.Store) {
	results := make([]error, many)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { _, results[i] = s.Put(t.Context(), "a", fmt.Append(nil, i), 0, time.Hour) })
	}
	all.Wait()
	winner := slices.Index(results, nil)
	for i, err := range results {
		if i != winner && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%d: %v, after %d had won", i, err, winner)
		}
	}
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != fmt.Sprint(winner) {
		t.Errorf("the winner is %d, and the value %q, %v", winner, e.Value, err)
	}
}

func increments(t *testing.T, s store.Store) {
	put(t, s, "a", "", 0)
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			for {
				e, err := s.Get(t.Context(), "a")
				if err == nil {
					_, err = s.Put(t.Context(), "a", append(e.Value, '+'), e.Revision, store.Forever)
				}
				if errors.Is(err, store.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
				}
				return
			}
		})
	}
	all.Wait()
	if e, err := s.Get(t.Context(), "a"); err != nil || string(e.Value) != strings.Repeat("+", many) {
		t.Errorf("%q, %v", e.Value, err)
	}
}
