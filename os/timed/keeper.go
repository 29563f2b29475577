package timed

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
)

const (
	// networkLimit is the longest wait for the network's daemon, which itself gives up
	// after two minutes.
	networkLimit = 3 * time.Minute
	// firstLimit is how long the boot waits for an answer on a network that is there.
	firstLimit = 5 * time.Second
	firstPause = time.Second

	// stepLimit is how wrong the clock may be and still be slewed; RFC 5905's STEPT.
	stepLimit = 128 * time.Millisecond

	minPoll, maxPoll       = 64 * time.Second, 1024 * time.Second
	minBackOff, maxBackOff = 16 * time.Second, 1024 * time.Second
)

// errNobody is the reason why nobody can be asked.
type errNobody string

func (e errNobody) Error() string { return string(e) }

// keeper keeps the clock right.
type keeper struct {
	log   *slog.Logger
	clock interface {
		Step(offset time.Duration) error
		Slew(offset, maxError, interval time.Duration) error
	}
	network  func() (netstate.State, error)
	changed  <-chan struct{} // the network may have changed
	fallback []string        // the servers if the network names none
	off      bool            // nobody is asked, ever
	ask      func(ctx context.Context, servers []string, last string) ([]answer, error)
	publish  func(State) error
	notify   func(string) error

	state   State
	ready   bool           // init has been told so
	asked   []string       // the servers of the last round
	seen    netstate.State // as it was when it was looked at last
	poll    time.Duration  // until the next round, if all is well
	backOff time.Duration  // until the next round, if not; 0 if the last one went well
	doubt   bool           // the last answer was more than stepLimit away
	told    logline.Teller
}

// run returns when ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.poll = minPoll
	if !k.off {
		k.awaitNetwork(ctx)
	}
	err := k.first(ctx)
	for ctx.Err() == nil {
		k.report(err)
		if !k.sleep(ctx, k.pause(err)) {
			return
		}
		err = k.round(ctx)
	}
}

func (k *keeper) awaitNetwork(ctx context.Context) {
	limit := time.After(networkLimit)
	for {
		if s, err := k.network(); err == nil && s.Settled {
			return
		}
		select {
		case <-k.changed:
		case <-limit:
			k.log.Warn("the network's daemon does not say what became of the network")
			return
		case <-ctx.Done():
			return
		}
	}
}

// first asks until there is an answer, or until the boot should not wait for it.
func (k *keeper) first(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, firstLimit)
	defer cancel()
	for {
		err := k.round(ctx)
		if _, nobody := errors.AsType[errNobody](err); err == nil || nobody || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(firstPause):
		case <-ctx.Done():
			return err
		}
	}
}

// servers looks at the network and gives the ones to be asked now.
func (k *keeper) servers() ([]string, error) {
	s, err := k.network()
	k.seen = s
	switch {
	case k.off:
		return nil, errNobody("switched off")
	case err != nil:
		return nil, err
	case len(s.NTP) > 0:
		return s.NTP, nil
	case !s.Online:
		return nil, errNobody("no network")
	case len(k.fallback) > 0:
		return k.fallback, nil
	}
	return nil, errNobody("no server is known")
}

// round asks once and sets the clock.
func (k *keeper) round(ctx context.Context) error {
	servers, err := k.servers()
	k.asked = servers
	if err != nil {
		return err
	}
	answers, err := k.ask(ctx, servers, k.state.Source)
	if err != nil {
		return err
	}
	best, wrong := choose(answers, k.state.Source)
	for _, a := range wrong {
		k.told.Tell(k.log, slog.LevelWarn, "time server "+a.server+" is not believed", "source", best.server, "differs", a.offset-best.offset)
	}
	return k.apply(best)
}

// apply sets the clock. Once it has been set, a server must say twice that it is
// very wrong.
func (k *keeper) apply(a answer) error {
	k.log.Debug("comparing the clock", "source", a.server, "offset", a.offset, "distance", a.distance)
	if a.offset.Abs() > stepLimit {
		if k.state.Synchronised && !k.doubt {
			k.doubt = true
			return nil
		}
		if err := k.clock.Step(a.offset); err != nil {
			return err
		}
		k.log.Info("stepping the clock", "source", a.server, "offset", a.offset)
		k.poll = minPoll
		if err := k.clock.Slew(0, a.distance, k.poll); err != nil {
			return err
		}
	} else {
		k.adapt(a)
		if err := k.clock.Slew(a.offset, a.distance, k.poll); err != nil {
			return err
		}
	}
	k.doubt = false
	k.state = State{Synchronised: true, Source: a.server, Offset: a.offset, Stratum: a.stratum, LastUpdate: time.Now().UTC()}
	return nil
}

// adapt makes the rounds rarer as long as the clock is as right as the server is
// known to be.
func (k *keeper) adapt(a answer) {
	switch {
	case !k.state.Synchronised:
	case a.offset.Abs() <= a.distance:
		k.poll = min(2*k.poll, maxPoll)
	default:
		k.poll = max(k.poll/2, minPoll)
	}
}

// report tells what a round came to: all to the file, and to init and the log what
// is new.
func (k *keeper) report(err error) {
	before := k.state.Why
	k.state.Why = ""
	if err != nil {
		k.state.Why = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	switch _, nobody := errors.AsType[errNobody](err); {
	case k.state.Why == "" || before != "":
	case nobody:
		k.log.Info("the clock is not compared", "why", k.state.Why)
	default:
		k.log.Warn("the clock cannot be compared", "why", k.state.Why)
	}
	text := "STATUS=" + k.state.summary()
	if !k.ready {
		text, k.ready = "READY=1\n"+text, true
	}
	if err := k.notify(text); err != nil {
		k.log.Warn("telling init about the clock", "err", err)
	}
	if err := k.publish(k.state); err != nil {
		k.log.Warn("telling others about the clock", "err", err)
	}
}

// summary is the state as fields of a stage line.
func (s State) summary() string {
	fields := []stage.Field{{Key: "source", Value: "none"}, {Key: "why", Value: s.Why}}
	if s.Synchronised {
		seconds := strconv.FormatFloat(s.Offset.Round(time.Millisecond).Seconds(), 'f', -1, 64)
		fields = []stage.Field{
			{Key: "source", Value: s.Source}, {Key: "offset", Value: seconds + "s"}, {Key: "stratum", Value: strconv.Itoa(int(s.Stratum))},
		}
	}
	_, text, _ := strings.Cut(stage.Line{Fields: fields}.String(), "t=0.000 ")
	return text
}

// pause is the time until the next round.
func (k *keeper) pause(err error) time.Duration {
	if err != nil {
		k.backOff = min(max(2*k.backOff, minBackOff), maxBackOff)
		return k.backOff
	}
	k.backOff = 0
	if k.doubt {
		return minBackOff
	}
	return k.poll
}

// sleep waits, a little less than asked for so that machines that started together
// do not ask together for ever, or until there are other servers, or those who could
// not be asked may be within reach. It is false when ctx ends.
func (k *keeper) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d - rand.N(d/8))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-k.changed:
			before := k.seen
			servers, _ := k.servers() // the next round reports the error
			if !slices.Equal(servers, k.asked) || k.backOff > 0 && leadsElsewhere(before, k.seen) {
				k.backOff = 0
				return true
			}
		case <-ctx.Done():
			return false
		}
	}
}

// leadsElsewhere tells whether servers that did not answer before a change of the
// network, or could not be found, may do so now.
func leadsElsewhere(before, now netstate.State) bool {
	return now.Online && !before.Online ||
		now.Link != "" && (now.Link != before.Link || !slices.Equal(now.DNS, before.DNS))
}
