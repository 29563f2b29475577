package bolt

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/storetest"
)

func open(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, filepath.Join(t.TempDir(), "store")) })
}

// What is written is there when the file is opened again, and revisions go on.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	s := open(t, path)
	first, err := s.Put(t.Context(), "a", []byte("one"), 0, store.Forever)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	e, err := s.Get(t.Context(), "a")
	if err != nil || string(e.Value) != "one" || e.Revision != first {
		t.Fatalf("got %+v, %v", e, err)
	}
	if err := s.Delete(t.Context(), "a", first); err != nil {
		t.Fatal(err)
	}
	if again, err := s.Put(t.Context(), "a", nil, 0, store.Forever); err != nil || again <= first {
		t.Errorf("revision %d after %d, %v", again, first, err)
	}
}

// Entries that are over leave nothing in the file, and not with them those that were written again.
func TestEndedAreRemoved(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	now := time.Now()
	s.now = func() time.Time { return now }
	for i := range 3 * sweep {
		if _, err := s.Put(t.Context(), fmt.Sprintf("nonce/%d", i), nil, 0, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	if _, err := s.Put(t.Context(), "nonce/20", nil, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := s.Put(t.Context(), fmt.Sprintf("other/%d", i), nil, 0, store.Forever); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Get(t.Context(), "nonce/20"); err != nil {
		t.Errorf("what was written again: %v", err)
	}
	err := s.db.View(func(tx *bbolt.Tx) error {
		if n, m := tx.Bucket(entries).Stats().KeyN, tx.Bucket(leases).Stats().KeyN; n != 5 || m != 1 {
			t.Errorf("%d entries and %d leases are left, want 5 and 1", n, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A copy that is made while others write is one of a moment between two changes.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "store"))
	const changes = 100
	put := func(i int) error {
		_, err := s.Put(t.Context(), fmt.Sprintf("%04d", i), bytes.Repeat([]byte{1}, 1000), 0, store.Forever)
		return err
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		var err error
		for i := 1; i < changes && err == nil; i++ {
			err = put(i)
		}
		written <- err
	}()
	for n := range 10 {
		path := filepath.Join(dir, fmt.Sprint("copy", n))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Backup(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		list, err := open(t, path).List(t.Context(), "", "", changes)
		if err != nil || len(list) == 0 || list[len(list)-1].Key != fmt.Sprintf("%04d", len(list)-1) {
			t.Errorf("copy %d has %d entries, %v", n, len(list), err)
		}
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if err := s.Backup(full{}); err == nil || !strings.Contains(err.Error(), "copying the store") {
		t.Errorf("where there is no room: %v", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestEach(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	now := time.Now().Truncate(time.Millisecond)
	s.now = func() time.Time { return now }
	for key, life := range map[string]time.Duration{"b": store.Forever, "a": time.Hour, "c": time.Minute} {
		if _, err := s.Put(t.Context(), key, []byte("of "+key), 0, life); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Minute)
	var got []string
	note := func(e store.Entry, life time.Duration) error {
		got = append(got, fmt.Sprintf("%s %s %v", e.Key, e.Value, life))
		return nil
	}
	if err := s.Each(note); err != nil || strings.Join(got, ", ") != "a of a 59m0s, b of b 0s" {
		t.Errorf("it gives %q, %v", got, err)
	}
	enough := errors.New("enough")
	if err := s.Each(func(store.Entry, time.Duration) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

func TestDamaged(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "store"))
	err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(entries).Put([]byte("a"), []byte{9}) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "a"); err == nil || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), `reading "a": the record is damaged`) {
		t.Errorf("Get: %v", err)
	}
	if _, err := s.List(t.Context(), "", "", 9); err == nil {
		t.Error("List: no error")
	}
	if _, err := s.Put(t.Context(), "a", nil, 0, store.Forever); err == nil {
		t.Error("Put: no error")
	}
}

func TestRecord(t *testing.T) {
	r := record{revision: 258, end: 0x0102030405, value: []byte("value")}
	const golden = "010000000000000102000000010203040576616c7565"
	if got := hex.EncodeToString(r.encode()); got != golden {
		t.Errorf("encoded %s, want %s", got, golden)
	}
	back, err := decode(r.encode())
	if err != nil || back.revision != r.revision || back.end != r.end || !bytes.Equal(back.value, r.value) {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record{revision: 1, end: 2, value: []byte("v")}.encode())
	f.Add(make([]byte, header))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := decode(b); err == nil && !bytes.Equal(r.encode(), b) {
			t.Errorf("%x becomes %x", b, r.encode())
		}
	})
}

func FuzzSplitLease(f *testing.F) {
	f.Add(lease(1, "a"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if end, key, ok := splitLease(b); ok && !bytes.Equal(lease(end, key), b) {
			t.Errorf("%x becomes %x", b, lease(end, key))
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Put(b.Context(), fmt.Sprint(i), []byte("value"), 0, time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPutTogether is many requests at once, which share writes.
func BenchmarkPutTogether(b *testing.B) {
	s, err := Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	var n atomic.Int64
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := s.Put(b.Context(), fmt.Sprint(n.Add(1)), []byte("value"), 0, time.Minute); err != nil {
				b.Error(err)
			}
		}
	})
}
