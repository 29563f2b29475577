// Package store keeps what attestation servers have to remember: which machines are enrolled, revoked or
// waiting for an operator, who was let in last, which nonces are used up, how far overlays have come.
//
// A [Store] is a flat map with revisions and leases, small enough that an embedded database (package bolt)
// and a shared one (etcd's transactions and leases) do the same; package storetest is what each must pass.
// [Registry] puts the records into it. All changes compare a revision, so that servers that share a store
// need no locks.
package store

import (
	"context"
	"errors"
	"time"
)

// The sizes that every store takes, in bytes.
const (
	MaxKey   = 256
	MaxValue = 64 << 10
)

// Forever is the life of an entry that stays. Any other ends at its time, or later: by a few seconds, or, in a
// shared store, by a sixteenth of its life.
const Forever time.Duration = 0

var (
	// ErrNotFound is that there is no such key.
	ErrNotFound = errors.New("not found")
	// ErrConflict is that the key has another revision than the caller thinks.
	ErrConflict = errors.New("changed meanwhile")
	// ErrUnavailable is that a shared store cannot be used now. A change may have been made nevertheless.
	ErrUnavailable = errors.New("the store is not available")
)

// Entry is a key with its value. Revision is above 0 and grows with each change of the key, also over its
// deletion.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
}

// Store is safe for concurrent use. What a call has written is on the disk when it returns, and seen by
// all calls that begin later.
type Store interface {
	// Get returns the entry, or ErrNotFound.
	Get(ctx context.Context, key string) (Entry, error)
	// List returns at most limit entries whose keys begin with prefix and are greater than after, in the
	// order of their keys.
	List(ctx context.Context, prefix, after string, limit int) ([]Entry, error)
	// Put writes an entry that is of that revision, 0 for one that is not there, and returns its new
	// revision; otherwise ErrConflict. The entry is gone after life, unless that is Forever.
	Put(ctx context.Context, key string, value []byte, revision uint64, life time.Duration) (uint64, error)
	// Delete deletes an entry that is of that revision; otherwise ErrConflict.
	Delete(ctx context.Context, key string, revision uint64) error
	Close() error
}

// Check is the error of a key or a value that not every store takes. A value may be nil.
func Check(key string, value []byte) error {
	switch {
	case key == "":
		return errors.New("the key is empty")
	case len(key) > MaxKey:
		return errors.New("the key is too long")
	case len(value) > MaxValue:
		return errors.New("the value is too large")
	}
	return nil
}
