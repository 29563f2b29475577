package etcd

import (
	"context"
	"fmt"
	"maps"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases are those that were granted last, by the life of their entries. A lease of its own for each entry
// would be another write, and one that outlives its entry when that is written again.
type leases struct {
	turn   chan struct{} // has a value while nobody uses recent
	recent map[time.Duration]granted
}

type granted struct {
	id clientv3.LeaseID
	at time.Time
}

func newLeases() leases {
	l := leases{make(chan struct{}, 1), make(map[time.Duration]granted)}
	l.turn <- struct{}{}
	return l
}

// slack is how long entries of that life share a lease, and so how much later they may end.
func slack(life time.Duration) time.Duration { return max(life/16, 2*time.Second) }

// lease gives a lease for an entry that is written at once. It ends after life at the earliest.
func (s *Store) lease(ctx context.Context, life time.Duration) (clientv3.LeaseID, error) {
	l := &s.leases
	if err := l.enter(ctx); err != nil {
		return 0, err
	}
	defer l.leave()
	now := time.Now()
	maps.DeleteFunc(l.recent, func(life time.Duration, g granted) bool { return g.age(now) > slack(life) })
	if g, ok := l.recent[life]; ok {
		return g.id, nil
	}
	// The write may take its time too.
	ttl := life + slack(life) + Patience
	made, err := s.client.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, fmt.Errorf("making a lease: %w", err)
	}
	l.recent[life] = granted{made.ID, now}
	return made.ID, nil
}

// age is by the clock that has advanced further: one of them stands still while a machine is suspended, and
// somebody may set the other back.
func (g granted) age(now time.Time) time.Duration {
	return max(now.Sub(g.at), now.Round(0).Sub(g.at.Round(0)))
}

// forget has the next entry of that life get a new lease.
func (l *leases) forget(ctx context.Context, life time.Duration) {
	if l.enter(ctx) == nil {
		delete(l.recent, life)
		l.leave()
	}
}

func (l *leases) enter(ctx context.Context) error {
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *leases) leave() { l.turn <- struct{}{} }
