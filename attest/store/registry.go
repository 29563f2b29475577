package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// Registry keeps the records of attestation in a store. Nodes are named by protocol.NodeID.
type Registry struct {
	store Store
	now   func() time.Time
}

// NewRegistry keeps records in s. A nil now is the clock of the machine.
func NewRegistry(s Store, now func() time.Time) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{s, now}
}

// State is what an operator has said of a machine.
type State string

const (
	Enrolled State = "enrolled" // its EK is on the list
	Revoked  State = "revoked"  // it is let in under no policy, whatever certificate its EK has
)

// Machine is a machine of which an operator has said something.
type Machine struct {
	Node  string    `json:"node"`
	State State     `json:"state"`
	Note  string    `json:"note,omitempty"` // free text
	By    string    `json:"by"`             // who said it
	Time  time.Time `json:"time"`
}

// Waiting is a machine in the queue: one that nothing is known of, and that an operator may approve.
type Waiting struct {
	Node    string    `json:"node"`
	First   time.Time `json:"first"` // when it came first
	Last    time.Time `json:"last"`  // and last, to the minute
	Address string    `json:"address"`
	Issuer  string    `json:"issuer,omitempty"` // who signed its EK's certificate, if it has one
	Problem string    `json:"problem"`          // why that does not do: a code of verify.Evidence.EKProblem
	// Claims are the machine's own words.
	Claims protocol.Claims `json:"claims"`
}

// What callers branch on.
var (
	ErrEnrolled = errors.New("the machine is enrolled already")
	ErrRevoked  = errors.New("the machine is revoked")
	ErrFull     = errors.New("the queue is full")
	ErrUsed     = errors.New("the nonce is used up")
	ErrOlder    = errors.New("a newer version has been published")
)

const (
	machines = "machine/"
	queue    = "queue/"
	nonces   = "nonce/"
	overlays = "overlay/"
	secrets  = "secret/"

	// waits is how long a machine stays in the queue after it came last.
	waits = 7 * 24 * time.Hour
	// freshness is how old Waiting.Last may be before it is written anew.
	freshness = time.Minute
)

// Ping tells whether the store can be read.
func (r *Registry) Ping(ctx context.Context) error {
	_, err := r.store.Get(ctx, "ping")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// CheckNode is the error of what is no protocol.NodeID.
func CheckNode(node string) error {
	b, err := hex.DecodeString(node)
	if err != nil || len(b) != 32 || hex.EncodeToString(b) != node {
		return fmt.Errorf("%q is not the name of a machine: the SHA-256 of its endorsement key, 64 digits of lower-case hex", node)
	}
	return nil
}

// Machine returns what an operator has said of a machine, or ErrNotFound.
func (r *Registry) Machine(ctx context.Context, node string) (Machine, error) {
	m, _, err := get[Machine](ctx, r.store, machines+node)
	return m, err
}

// Enroll puts a machine on the list and takes it off the queue; otherwise ErrEnrolled or ErrRevoked.
func (r *Registry) Enroll(ctx context.Context, node, note, by string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	m := Machine{Node: node, State: Enrolled, Note: note, By: by, Time: r.now().UTC()}
	err := put(ctx, r.store, machines+node, m, 0, Forever)
	if errors.Is(err, ErrConflict) {
		old, err := r.Machine(ctx, node)
		switch {
		case err != nil:
			return err
		case old.State == Revoked:
			return ErrRevoked
		}
		return ErrEnrolled
	} else if err != nil {
		return err
	}
	return r.unqueue(ctx, node)
}

// Approve enrolls a machine of the queue, or is ErrNotFound for one that is not in it.
func (r *Registry) Approve(ctx context.Context, node, note, by string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	if _, err := r.store.Get(ctx, queue+node); err != nil {
		return err
	}
	return r.Enroll(ctx, node, note, by)
}

// Revoke revokes any machine, known or not, and takes it off the queue. It may be said twice.
func (r *Registry) Revoke(ctx context.Context, node, note, by string) error {
	if err := CheckNode(node); err != nil {
		return err
	}
	m := Machine{Node: node, State: Revoked, Note: note, By: by, Time: r.now().UTC()}
	for {
		old, err := r.store.Get(ctx, machines+node)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		err = put(ctx, r.store, machines+node, m, old.Revision, Forever)
		if err == nil {
			return r.unqueue(ctx, node)
		} else if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// Forget unsays what was said of a machine, or is ErrNotFound.
func (r *Registry) Forget(ctx context.Context, node string) error {
	return r.remove(ctx, machines+node)
}

// Enqueue notes that a machine waits for an operator. First tells that it did not before. ErrFull is that
// the queue has most machines in it, or a few more if several came at once.
func (r *Registry) Enqueue(ctx context.Context, w Waiting, most int) (first bool, err error) {
	if err := CheckNode(w.Node); err != nil {
		return false, err
	}
	w.Last = r.now().UTC()
	w.First = w.Last
	old, revision, err := get[Waiting](ctx, r.store, queue+w.Node)
	switch {
	case err == nil && w.Last.Sub(old.Last) < freshness && old.Address == w.Address:
		return false, nil
	case err == nil:
		w.First = old.First
	case errors.Is(err, ErrNotFound):
		others, err := r.store.List(ctx, queue, "", most)
		if err != nil {
			return false, err
		}
		if len(others) >= most {
			return false, ErrFull
		}
	default:
		return false, err
	}
	if err = put(ctx, r.store, queue+w.Node, w, revision, waits); errors.Is(err, ErrConflict) {
		return false, nil // the same machine, at the same moment
	}
	return revision == 0, err
}

// Queue lists at most limit machines in the queue whose names come after after.
func (r *Registry) Queue(ctx context.Context, after string, limit int) ([]Waiting, error) {
	return list[Waiting](ctx, r.store, queue, after, limit)
}

// Dismiss takes a machine off the queue, or is ErrNotFound. It may come again.
func (r *Registry) Dismiss(ctx context.Context, node string) error {
	return r.remove(ctx, queue+node)
}

func (r *Registry) unqueue(ctx context.Context, node string) error {
	if err := r.Dismiss(ctx, node); !errors.Is(err, ErrNotFound) {
		return err
	}
	return nil
}

// UseNonce uses up a nonce, which nobody accepts after life; otherwise ErrUsed.
func (r *Registry) UseNonce(ctx context.Context, nonce []byte, life time.Duration) error {
	_, err := r.store.Put(ctx, nonces+hex.EncodeToString(nonce), nil, 0, life)
	if errors.Is(err, ErrConflict) {
		return ErrUsed
	}
	return err
}

// Publish notes that an overlay has come to a version; ErrOlder if it has come further.
func (r *Registry) Publish(ctx context.Context, name string, version uint64) error {
	for {
		e, err := r.store.Get(ctx, overlays+name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil {
			newest, err := newest(name, e)
			switch {
			case err != nil:
				return err
			case newest > version:
				return fmt.Errorf("%w: %d", ErrOlder, newest)
			case newest == version:
				return nil
			}
		}
		_, err = r.store.Put(ctx, overlays+name, strconv.AppendUint(nil, version, 10), e.Revision, Forever)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// Newest is the newest version of an overlay that was published, 0 for none.
func (r *Registry) Newest(ctx context.Context, name string) (uint64, error) {
	e, err := r.store.Get(ctx, overlays+name)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return newest(name, e)
}

func newest(name string, e Entry) (uint64, error) {
	version, err := strconv.ParseUint(string(e.Value), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading the newest version of overlay %q: %w", name, err)
	}
	return version, nil
}

// Downgrade has Publish take a version from now on although newer ones were published: an operator has said so.
func (r *Registry) Downgrade(ctx context.Context, name string, version uint64) error {
	for {
		e, err := r.store.Get(ctx, overlays+name)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		_, err = r.store.Put(ctx, overlays+name, strconv.AppendUint(nil, version, 10), e.Revision, Forever)
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// Secret returns the bytes kept under name, or keeps and returns candidate: all servers of a store get the same.
func (r *Registry) Secret(ctx context.Context, name string, candidate []byte) ([]byte, error) {
	_, err := r.store.Put(ctx, secrets+name, candidate, 0, Forever)
	if err != nil && !errors.Is(err, ErrConflict) {
		return nil, err
	}
	e, err := r.store.Get(ctx, secrets+name)
	return e.Value, err
}

func (r *Registry) remove(ctx context.Context, key string) error {
	for {
		e, err := r.store.Get(ctx, key)
		if err != nil {
			return err
		}
		if err := r.store.Delete(ctx, key, e.Revision); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
