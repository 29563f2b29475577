package timed

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ember-os/ember/os/netstate"
)

// bench is a keeper and all it has to do with, in the time of synctest.
type bench struct {
	keeper
	mu      sync.Mutex // is with the keeper while time passes, and with the test if not
	fake    fakeClock
	start   time.Time
	net     netstate.State
	change  chan struct{}
	answers func(server string) (answer, error)
	asked   []question
	last    string // the server that was chosen before, as of the last question
	told    []message
	states  []State
}

func newBench(net netstate.State, answers func(server string) (answer, error)) *bench {
	b := &bench{start: time.Now(), net: net, change: make(chan struct{}, 1), answers: answers}
	b.keeper = keeper{
		log: slog.New(slog.DiscardHandler), clock: &b.fake, changed: b.change,
		fallback: []string{"default.example"},
		network: func() (netstate.State, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.net, nil
		},
		ask: func(_ context.Context, servers []string, last string) ([]answer, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.last = last
			b.asked = append(b.asked, question{time.Since(b.start), strings.Join(servers, " ")})
			var answers []answer
			var errs []error
			for _, server := range servers {
				a, err := b.answers(server)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				answers = append(answers, a)
			}
			if answers == nil {
				return nil, errors.Join(errs...)
			}
			return answers, nil
		},
		notify: func(text string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.told = append(b.told, message{time.Since(b.start), text})
			return nil
		},
		publish: func(s State) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.states = append(b.states, s)
			return nil
		},
	}
	return b
}

// run has the keeper run until the test ends, and gives it some time.
func (b *bench) run(t *testing.T, d time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.keeper.run(ctx)
	}()
	t.Cleanup(func() {
		b.mu.Unlock()
		cancel()
		<-done
	})
	b.mu.Lock()
	b.pass(d)
}

func (b *bench) pass(d time.Duration) {
	b.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	b.mu.Lock()
}

func (b *bench) become(net netstate.State) {
	b.net = net
	b.change <- struct{}{}
	b.pass(0)
}

func offset(d time.Duration) func(string) (answer, error) {
	return func(server string) (answer, error) { return answer{server, d, 10 * time.Millisecond, 2}, nil }
}

func dead(server string) (answer, error) {
	return answer{}, errors.New("asking " + server + ": no answer")
}
