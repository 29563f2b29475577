// Package bolt is a [store.Store] in one file, by bbolt: for a server that is alone. One process at a time
// has the file open.
//
// Bucket "entries" maps keys to records (see record); bucket "leases" has a key for each that ends, by time,
// so that each change can remove some of those that are over. There is no goroutine.
package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/ember-os/ember/attest/store"
)

var (
	entries = []byte("entries")
	leases  = []byte("leases")
)

const (
	// patience is how long the file's lock is waited for: a server that is being replaced needs a moment.
	patience = 3 * time.Second
	// sweep is how many ended entries a transaction removes besides one for each of its changes.
	sweep = 16
)

// Store is the open file.
type Store struct {
	db  *bbolt.DB
	now func() time.Time

	writer  sync.Mutex // who has it writes what waits
	mu      sync.Mutex
	waiting []*change
}

// Open opens the file at path, or makes it. If another process has it open and keeps it, that is an error.
func Open(path string) (*Store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: patience, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("opening the store: another process has %s open", path)
	} else if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err1 := tx.CreateBucketIfNotExists(entries)
		_, err2 := tx.CreateBucketIfNotExists(leases)
		return errors.Join(err1, err2)
	})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("opening the store %s: %w", path, err)
	}
	return &Store{db: db, now: time.Now}, nil
}

// Close ends all use of the file.
func (s *Store) Close() error { return s.db.Close() }

// Backup writes a copy of the file as it is now, which Open opens. Others read and write meanwhile.
func (s *Store) Backup(w io.Writer) error {
	err := s.db.View(func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(w)
		return err
	})
	if err != nil {
		return fmt.Errorf("copying the store: %w", err)
	}
	return nil
}

// Each gives all entries as they are now, in the order of their keys, with the rest of their lives.
func (s *Store) Each(do func(e store.Entry, life time.Duration) error) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		now := s.now()
		return tx.Bucket(entries).ForEach(func(k, v []byte) error {
			r, err := decode(v)
			if err != nil {
				return fmt.Errorf("reading %q: %w", k, err)
			}
			if r.ended(now) {
				return nil
			}
			life := store.Forever
			if r.end != 0 {
				life = time.UnixMilli(r.end).Sub(now)
			}
			return do(r.entry(string(k)), life)
		})
	})
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Entry, error) {
	if err := errors.Join(ctx.Err(), store.Check(key, nil)); err != nil {
		return store.Entry{}, fmt.Errorf("reading %q: %w", key, err)
	}
	var e store.Entry
	err := s.db.View(func(tx *bbolt.Tx) error {
		r, err := s.find(tx, key)
		if err != nil {
			return err
		}
		if r.revision == 0 {
			return store.ErrNotFound
		}
		e = r.entry(key)
		return nil
	})
	if err != nil {
		return store.Entry{}, fmt.Errorf("reading %q: %w", key, err)
	}
	return e, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]store.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("listing %q: %w", prefix, err)
	}
	var list []store.Entry
	err := s.db.View(func(tx *bbolt.Tx) error {
		now := s.now()
		c := tx.Bucket(entries).Cursor()
		for k, v := c.Seek([]byte(max(prefix, after))); k != nil && len(list) < limit; k, v = c.Next() {
			key := string(k)
			if !strings.HasPrefix(key, prefix) {
				break
			}
			r, err := decode(v)
			if err != nil {
				return fmt.Errorf("%q: %w", key, err)
			}
			if key > after && !r.ended(now) {
				list = append(list, r.entry(key))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", prefix, err)
	}
	return list, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, value []byte, revision uint64, life time.Duration) (uint64, error) {
	c := &change{key: key, value: value, revision: revision, life: life}
	if err := s.make(ctx, c); err != nil {
		return 0, fmt.Errorf("writing %q: %w", key, err)
	}
	return c.next, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string, revision uint64) error {
	if err := s.make(ctx, &change{key: key, revision: revision, remove: true}); err != nil {
		return fmt.Errorf("deleting %q: %w", key, err)
	}
	return nil
}

// find returns the key's record; that of a key that is not there, or no longer, is zero.
func (s *Store) find(tx *bbolt.Tx, key string) (record, error) {
	b := tx.Bucket(entries).Get([]byte(key))
	if b == nil {
		return record{}, nil
	}
	r, err := decode(b)
	if err != nil || r.ended(s.now()) {
		return record{}, err
	}
	return r, nil
}

// removeEnded removes the oldest of the entries that are over, at most so many. A lease whose entry has a later end, because
// it ended and was written again, is removed alone.
func (s *Store) removeEnded(tx *bbolt.Tx, most int) error {
	now := s.now()
	c := tx.Bucket(leases).Cursor()
	var over [][]byte
	for k, _ := c.First(); k != nil && len(over) < most; k, _ = c.Next() {
		if end, _, ok := splitLease(k); ok && end > now.UnixMilli() {
			break
		}
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		if _, key, ok := splitLease(k); ok {
			b := tx.Bucket(entries).Get([]byte(key))
			if r, err := decode(b); err == nil && r.ended(now) {
				if err := tx.Bucket(entries).Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		if err := tx.Bucket(leases).Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// lease is the key of the bucket "leases": the end, big-endian, and the entry's key.
func lease(end int64, key string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(end)), key...)
}

func splitLease(b []byte) (end int64, key string, ok bool) {
	if len(b) <= 8 {
		return 0, "", false
	}
	return int64(binary.BigEndian.Uint64(b)), string(b[8:]), true
}
