package term

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	asked := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	times := Times{Sent: asked, Wake: asked.Add(time.Second)}
	at := func(after time.Duration, next time.Duration, due, expired bool) {
		t.Helper()
		now := asked.Add(after)
		if got := times.next(now); got != next || times.Due(now) != due || times.Expired(now) != expired {
			t.Errorf("after %v: next in %v, due %t, expired %t; want %v, %t, %t", after, got, times.Due(now), times.Expired(now), next, due, expired)
		}
	}
	at(0, time.Second, false, false)
	at(2*time.Second, -time.Second, true, false)
	times.Grant(time.Hour, 30*time.Minute, 50*time.Minute)
	at(time.Minute, 29*time.Minute, false, false)
	at(30*time.Minute, 0, true, false)
	times.Wake = asked.Add(2 * time.Hour)
	at(time.Minute, 59*time.Minute, false, false)
	at(time.Hour, 0, false, true)
	times.Grant(0, 0, 0)
	at(time.Hour, math.MaxInt64, false, false)
}

// pipe is a conn that gives what is sent to it, and an error when that is closed.
type pipe struct {
	messages chan []byte
	closed   chan struct{}
}

func (p pipe) Receive() ([]byte, error) {
	select {
	case b, ok := <-p.messages:
		if ok {
			return b, nil
		}
	case <-p.closed:
	}
	return nil, errors.New("closed")
}

func (p pipe) Close() error {
	close(p.closed)
	return nil
}

func TestLoop(t *testing.T) {
	p := pipe{make(chan []byte), make(chan struct{})}
	events, said := make(chan int), make(chan string)
	times := Times{}
	l := Loop[int]{
		Conn: p, Events: events, Times: &times,
		Event: func(e int) {
			times.Wake = time.Now().Add(time.Millisecond)
			said <- "event"
		},
		Received: func(b []byte) { said <- string(b) },
		Tick: func() {
			if times.Due(time.Now()) {
				times.Wake = time.Time{}
				said <- "due"
			}
		},
	}
	ended := make(chan error)
	go func() { ended <- l.Run(t.Context()) }()
	expect := func(want string) {
		t.Helper()
		if got := <-said; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	events <- 1
	expect("event")
	expect("due")
	p.messages <- []byte("message")
	expect("message")
	close(p.messages)
	if err := <-ended; err == nil || err.Error() != "closed" {
		t.Errorf("it ends with %v", err)
	}
	<-p.closed
}

func TestLoopStops(t *testing.T) {
	p := pipe{make(chan []byte), make(chan struct{})}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := Loop[int]{Conn: p, Times: new(Times), Tick: func() {}}
	if err := l.Run(ctx); err != nil {
		t.Error(err)
	}
	<-p.closed
}
