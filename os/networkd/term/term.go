// Package term is what the clients of DHCP and DHCPv6 have in common: the times of a lease, and the loop of a client
// that keeps one.
package term

import (
	"context"
	"math"
	"time"
)

// Times is when a client has to do something.
type Times struct {
	Sent   time.Time // the last message of the exchange
	Wake   time.Time // for the client's next step; zero for never
	Until  time.Time // the end of the lease; zero for never, and without one
	T1, T2 time.Time // when to ask its server for more, and when any
}

// Grant counts a lease from when it was asked for. A duration of 0 is for ever.
func (t *Times) Grant(duration, t1, t2 time.Duration) {
	t.Until, t.Wake = time.Time{}, time.Time{}
	if duration > 0 {
		t.Until, t.T1, t.T2 = t.Sent.Add(duration), t.Sent.Add(t1), t.Sent.Add(t2)
		t.Wake = t.T1
	}
}

// Expired says that the lease has ended.
func (t *Times) Expired(now time.Time) bool { return reached(t.Until, now) }

// Due says that it is time for the next step.
func (t *Times) Due(now time.Time) bool { return reached(t.Wake, now) }

func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// next is how long nothing has to be done.
func (t *Times) next(now time.Time) time.Duration {
	next := t.Wake
	if !t.Until.IsZero() && (next.IsZero() || t.Until.Before(next)) {
		next = t.Until
	}
	if next.IsZero() {
		return math.MaxInt64
	}
	return next.Sub(now)
}

// Conn is where messages come from.
type Conn interface {
	Receive() ([]byte, error)
	Close() error
}

// Loop calls a client's functions one after the other, never two at once.
type Loop[E any] struct {
	Conn     Conn
	Events   <-chan E
	Times    *Times
	Event    func(E)
	Received func([]byte)
	Tick     func() // when something is due, and sometimes when nothing is
}

// Run runs until the context or the conn ends; it closes the conn.
func (l Loop[E]) Run(ctx context.Context) error {
	messages, broken := make(chan []byte), make(chan error, 1)
	defer l.Conn.Close()
	go func() {
		for {
			b, err := l.Conn.Receive()
			if err != nil {
				broken <- err
				return
			}
			select {
			case messages <- b:
			case <-ctx.Done():
			}
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case e := <-l.Events:
			l.Event(e)
		case b := <-messages:
			l.Received(b)
		case <-timer.C:
			l.Tick()
		}
		timer.Reset(l.Times.next(time.Now()))
	}
}
