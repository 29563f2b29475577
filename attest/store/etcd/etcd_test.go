package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
	"github.com/ember-os/ember/attest/store/storetest"
)

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// line is the first that has the text.
func (l *lines) line(text string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

func open(t testing.TB, prefix string, endpoints ...string) (*Store, *lines) {
	t.Helper()
	log := new(lines)
	s, err := Open(t.Context(), Config{Endpoints: endpoints, Prefix: prefix, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, log
}

func TestStore(t *testing.T) {
	cluster := etcdtest.Start(t, 1, nil)
	storetest.Run(t, func(t *testing.T) store.Store {
		// One beside the prefix on each side, which must not be seen.
		for _, beside := range []string{"/" + t.Name(), "/" + t.Name() + "0"} {
			s, _ := open(t, beside, cluster[0].Endpoint())
			if _, err := s.Put(t.Context(), "b/2", nil, 0, store.Forever); err != nil {
				t.Fatal(err)
			}
		}
		s, _ := open(t, "/"+t.Name()+"/", cluster[0].Endpoint())
		return s
	})
}

// Entries of one life share a lease, until one that was written then would outlive it.
func TestLeases(t *testing.T) {
	cluster := etcdtest.Start(t, 1, nil)
	s, _ := open(t, "/", cluster[0].Endpoint())
	put := func(key string, life time.Duration) {
		t.Helper()
		if _, err := s.Put(t.Context(), key, nil, 0, life); err != nil {
			t.Fatal(err)
		}
	}
	leases := func() []clientv3.LeaseStatus {
		t.Helper()
		list, err := s.client.Leases(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list.Leases
	}
	for i := range 20 {
		put(fmt.Sprint("hour/", i), time.Hour)
		put(fmt.Sprint("day/", i), 24*time.Hour)
	}
	if n := len(leases()); n != 2 {
		t.Errorf("%d leases for two lives", n)
	}
	g := s.leases.recent[time.Hour]
	g.at = g.at.Add(-slack(time.Hour) - time.Second)
	s.leases.recent[time.Hour] = g
	put("hour/new", time.Hour)
	if n := len(leases()); n != 3 {
		t.Errorf("%d leases after the first was too old", n)
	}
	for _, l := range leases() {
		left, err := s.client.TimeToLive(t.Context(), l.ID)
		if err != nil {
			t.Fatal(err)
		}
		if ttl := time.Duration(left.GrantedTTL) * time.Second; ttl != time.Hour+slack(time.Hour)+Patience && ttl != 24*time.Hour+slack(24*time.Hour)+Patience {
			t.Errorf("a lease of %v", ttl)
		}
		if _, err := s.client.Revoke(t.Context(), l.ID); err != nil {
			t.Fatal(err)
		}
	}
	put("hour/1", time.Hour) // with a lease that is gone
	if n := len(leases()); n != 1 {
		t.Errorf("%d leases after all were revoked", n)
	}
}

func TestAge(t *testing.T) {
	at := time.Now()
	g := granted{at: at}
	for _, test := range []struct {
		name string
		now  time.Time
		want time.Duration
	}{
		{"both clocks", at.Add(time.Minute), time.Minute},
		{"suspended", at.Round(0).Add(time.Minute), time.Minute},
		{"set back", at.Round(0).Add(-time.Hour), -time.Hour},
	} {
		if got := g.age(test.now); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// wantLost does what must fail, and that in time.
func wantLost(t *testing.T, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // of no importance but for what hangs
	defer cancel()
	if err := do(ctx); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func calls(s *Store) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"get":    func(ctx context.Context) error { _, err := s.Get(ctx, "a"); return err },
		"list":   func(ctx context.Context) error { _, err := s.List(ctx, "", "", 9); return err },
		"put":    func(ctx context.Context) error { _, err := s.Put(ctx, "b", nil, 0, store.Forever); return err },
		"leased": func(ctx context.Context) error { _, err := s.Put(ctx, "c", nil, 0, 90*time.Second); return err },
		"delete": func(ctx context.Context) error { return s.Delete(ctx, "a", 1) },
	}
}

// recovered waits until everything works again and the log says so.
func recovered(t *testing.T, s *Store, log *lines) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); log.count("etcd is back") == 0; time.Sleep(50 * time.Millisecond) {
		if _, err := s.Get(t.Context(), "a"); err != nil && !errors.Is(err, store.ErrUnavailable) {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not back")
		}
	}
	e, err := s.Get(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a", nil, e.Revision, time.Hour); err != nil {
		t.Error(err)
	}
	if lost, back := log.count("etcd is lost"), log.count("etcd is back"); lost != 1 || back != 1 {
		t.Errorf("the log says %d times that it is lost, %d times that it is back", lost, back)
	}
}

// A cluster that is gone, or answers nothing, is an error within a bounded time, is said once, and is used
// again when it is back.
func TestLost(t *testing.T) {
	for _, test := range []struct {
		name       string
		lose, find func(*etcdtest.Member)
		says       string
	}{
		{"killed", (*etcdtest.Member).Kill, (*etcdtest.Member).Start, "connection refused|no such file|error reading"},
		{"silent", (*etcdtest.Member).Freeze, (*etcdtest.Member).Thaw, "no answer within 5s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, 1, nil)
			s, log := open(t, "/", cluster[0].Endpoint())
			if _, err := s.Put(t.Context(), "a", nil, 0, store.Forever); err != nil {
				t.Fatal(err)
			}
			test.lose(cluster[0])
			var all sync.WaitGroup
			for _, do := range calls(s) {
				all.Go(func() { wantLost(t, do) })
			}
			all.Wait()
			if said := log.line("etcd is lost"); !regexp.MustCompile(test.says).MatchString(said) {
				t.Errorf("the log says %q", said)
			}
			_, err := Open(t.Context(), Config{Endpoints: []string{cluster[0].Endpoint()}, Prefix: "/", Log: slog.New(slog.DiscardHandler)})
			if err == nil || !strings.Contains(err.Error(), cluster[0].Endpoint()) {
				t.Errorf("opened anew: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			if _, err := s.Get(ctx, "a"); test.name == "silent" && !errors.Is(err, context.Canceled) {
				t.Errorf("a caller who has gone: %v", err)
			}
			test.find(cluster[0])
			recovered(t, s, log)
		})
	}
}

// With one member of three gone, whichever, everything goes on; with two gone nothing is believed.
func TestMemberLost(t *testing.T) {
	cluster := etcdtest.Start(t, 3, nil)
	s, log := open(t, "/", etcdtest.Endpoints(cluster)...)
	revision, err := s.Put(t.Context(), "a", nil, 0, store.Forever)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range cluster {
		m.Kill()
		// An election and calls that were under way may fail, and have been made nevertheless.
		for deadline := time.Now().Add(time.Minute); ; {
			next, err := s.Put(t.Context(), "a", nil, revision, store.Forever)
			if err == nil {
				revision = next
				break
			}
			if errors.Is(err, store.ErrConflict) {
				e, err := s.Get(t.Context(), "a")
				if err != nil {
					t.Fatal(err)
				}
				revision = e.Revision
			} else if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
				t.Fatal(err)
			}
		}
		m.Start()
	}
	cluster[0].Kill()
	cluster[1].Kill()
	for name, do := range calls(s) {
		t.Run(name, func(t *testing.T) { wantLost(t, do) })
	}
	cluster[0].Start()
	for deadline := time.Now().Add(time.Minute); ; {
		e, err := s.Get(t.Context(), "a")
		if err == nil {
			if e.Revision != revision {
				t.Errorf("revision %d, want %d", e.Revision, revision)
			}
			break
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if log.count("etcd is lost") == 0 {
		t.Error("nothing in the log")
	}
}

func BenchmarkPut(b *testing.B) {
	cluster := etcdtest.Start(b, 1, nil)
	s, _ := open(b, "/", cluster[0].Endpoint())
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(b.Context(), fmt.Sprint(i), []byte("value"), 0, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
