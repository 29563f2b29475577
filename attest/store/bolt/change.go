package bolt

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/bbolt"

	"github.com/ember-os/ember/attest/store"
)

// change is a Put or a Delete.
type change struct {
	key      string
	value    []byte
	revision uint64 // that the entry must have
	life     time.Duration
	remove   bool

	next uint64 // the new revision
	err  error  // of this change alone
	done bool
}

// make makes a change. The disk is slow, so changes that come while others are being written are written
// together: whoever gets the writer's lock first writes for all.
func (s *Store) make(ctx context.Context, c *change) error {
	if err := errors.Join(ctx.Err(), store.Check(c.key, c.value)); err != nil {
		return err
	}
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()

	s.writer.Lock()
	defer s.writer.Unlock()
	if !c.done {
		s.write()
	}
	return c.err
}

// write makes all changes that wait, in one transaction. A change that cannot be made leaves the others alone;
// if the transaction fails, all do.
func (s *Store) write() {
	s.mu.Lock()
	changes := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	err := s.db.Update(func(tx *bbolt.Tx) error {
		if err := s.removeEnded(tx, sweep+len(changes)); err != nil {
			return err
		}
		for _, c := range changes {
			if err := s.apply(tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	for _, c := range changes {
		c.done = true
		if err != nil {
			c.err = err
		}
	}
}

// apply makes a change, or sets its err and changes nothing. What it returns is of the transaction.
func (s *Store) apply(tx *bbolt.Tx, c *change) error {
	old, err := s.find(tx, c.key)
	switch {
	case err != nil:
		c.err = err
		return nil
	case old.revision != c.revision, c.remove && c.revision == 0:
		c.err = store.ErrConflict
		return nil
	}
	if old.end != 0 {
		if err := tx.Bucket(leases).Delete(lease(old.end, c.key)); err != nil {
			return err
		}
	}
	if c.remove {
		return tx.Bucket(entries).Delete([]byte(c.key))
	}
	if c.next, err = tx.Bucket(entries).NextSequence(); err != nil {
		return err
	}
	r := record{revision: c.next, value: c.value}
	if c.life != store.Forever {
		r.end = s.now().Add(c.life).UnixMilli()
		if err := tx.Bucket(leases).Put(lease(r.end, c.key), nil); err != nil {
			return err
		}
	}
	return tx.Bucket(entries).Put([]byte(c.key), r.encode())
}
