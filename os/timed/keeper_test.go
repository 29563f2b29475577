package timed

import (
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/stage"
)

type question struct {
	at      time.Duration
	servers string
}

type message struct {
	at   time.Duration
	text string
}

var online = netstate.State{Settled: true, Online: true, NTP: []string{"10.0.2.3"}}

// TestReady is about when init is told that the boot may go on, and with which words.
func TestReady(t *testing.T) {
	offline := netstate.State{Settled: true}
	for _, test := range []struct {
		name    string
		net     netstate.State
		off     bool
		noneSet bool // the command line names no server either
		answers func(string) (answer, error)
		at      time.Duration
		fields  string
		asked   string // the first server
	}{
		{"slow clock", online, false, false, offset(1234567 * time.Millisecond), 0, "source=10.0.2.3 offset=1234.567s stratum=2", "10.0.2.3"},
		{"fast clock", online, false, false, offset(-1200 * time.Millisecond), 0, "source=10.0.2.3 offset=-1.2s stratum=2", "10.0.2.3"},
		{"good clock", online, false, false, offset(-300 * time.Microsecond), 0, "source=10.0.2.3 offset=0s stratum=2", "10.0.2.3"},
		{"no server by DHCP", netstate.State{Settled: true, Online: true}, false, false, offset(0), 0, "source=default.example offset=0s stratum=2", "default.example"},
		{"server without a route", netstate.State{Settled: true, NTP: []string{"10.0.2.3"}}, false, false, offset(0), 0, "source=10.0.2.3 offset=0s stratum=2", "10.0.2.3"},
		{"no server", netstate.State{Settled: true, Online: true}, false, true, nil, 0, `source=none why="no server is known"`, ""},
		{"no network", offline, false, false, nil, 0, `source=none why="no network"`, ""},
		{"switched off", netstate.State{NTP: []string{"10.0.2.3"}}, true, true, nil, 0, `source=none why="switched off"`, ""},
		{"no answer", online, false, false, dead, firstLimit, `source=none why="asking 10.0.2.3: no answer"`, "10.0.2.3"},
		{"no word of the network", netstate.State{}, false, false, nil, networkLimit, `source=none why="no network"`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(test.net, test.answers)
				b.off = test.off
				if test.noneSet {
					b.fallback = nil
				}
				b.run(t, time.Hour)
				if want := (message{test.at, "READY=1\nSTATUS=" + test.fields}); len(b.told) == 0 || b.told[0] != want {
					t.Fatalf("told init %v, want %v first", b.told, want)
				}
				if _, ok := stage.Parse("ember: stage=time t=1.000 " + test.fields); !ok {
					t.Errorf("%s is not made of stage fields", test.fields)
				}
				if n := len(b.asked); (n > 0) != (test.asked != "") || n > 0 && b.asked[0] != (question{0, test.asked}) {
					t.Errorf("asked %v", b.asked)
				}
				for _, m := range b.told[1:] {
					if !strings.HasPrefix(m.text, "STATUS=source=") {
						t.Errorf("then told init %v", m)
					}
				}
				if s := b.states[0]; s.Synchronised == (s.Why != "") || s.Synchronised == s.LastUpdate.IsZero() {
					t.Errorf("published %+v", s)
				}
			})
		})
	}
}

// TestLateNetwork: the network settles, or comes up, after the daemon.
func TestLateNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(netstate.State{}, offset(time.Second))
		b.run(t, 3*time.Second)
		b.become(netstate.State{Link: "eth0"})
		b.pass(time.Second)
		if b.told != nil {
			t.Errorf("told init %v before the network is settled", b.told)
		}
		b.become(netstate.State{Settled: true})
		if len(b.told) != 1 || b.told[0].at != 4*time.Second || b.asked != nil {
			t.Errorf("without a network: told init %v, asked %v", b.told, b.asked)
		}
		b.pass(time.Second)
		b.become(online)
		if want := []question{{5 * time.Second, "10.0.2.3"}}; !slices.Equal(b.asked, want) || len(b.told) != 2 ||
			b.told[1].text != "STATUS=source=10.0.2.3 offset=1s stratum=2" {
			t.Errorf("asked %v, want %v; told init %v", b.asked, want, b.told)
		}
	})
}

// TestServersChange: new servers are asked at once; as long as the old ones answer, other
// changes of the network do not matter.
func TestServersChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(online, offset(0))
		b.run(t, time.Second)
		same := online
		same.Hostname = "node7"
		same.Link, same.DNS = "eth1", []netip.Addr{netip.MustParseAddr("10.0.2.1")}
		b.become(same)
		b.pass(time.Second)
		other := online
		other.NTP = []string{"10.0.2.4", "10.0.2.5"}
		b.become(other)
		if want := []question{{0, "10.0.2.3"}, {2 * time.Second, "10.0.2.4 10.0.2.5"}}; !slices.Equal(b.asked, want) {
			t.Errorf("asked %v, want %v", b.asked, want)
		}
	})
}

// TestReach: servers that did not answer are asked at once when the network comes back,
// by another link, or with other name servers.
func TestReach(t *testing.T) {
	at := func(link string, online bool, dns string) netstate.State {
		s := netstate.State{Settled: true, Online: online, Link: link, NTP: []string{"10.0.2.3"}}
		if dns != "" {
			s.DNS = []netip.Addr{netip.MustParseAddr(dns)}
		}
		return s
	}
	for _, test := range []struct {
		name          string
		before, after netstate.State
		asked         bool
	}{
		{"back online", at("", false, ""), at("eth0", true, ""), true},
		{"back without a route", at("", false, ""), at("eth0", false, ""), true},
		{"a route", at("eth0", false, ""), at("eth0", true, ""), true},
		{"another link", at("eth0", true, ""), at("eth1", true, ""), true},
		{"another name server", at("eth0", true, "10.0.2.1"), at("eth0", true, "10.0.2.2"), true},
		{"offline", at("eth0", true, ""), at("", false, ""), false},
		{"nothing", at("eth0", true, "10.0.2.1"), at("eth0", true, "10.0.2.1"), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(at("eth0", true, ""), dead)
				b.run(t, time.Hour)
				b.become(test.before)
				b.pass(time.Second)
				before := len(b.asked)
				b.become(test.after)
				if asked := len(b.asked) > before; asked != test.asked {
					t.Errorf("asked: %v, want %v", asked, test.asked)
				}
			})
		})
	}
}

// TestDisagreement has two servers that disagree, of which now one and now the other is
// nearer: the one that was believed first is, as long as it answers. That the other is
// not is told seldom.
func TestDisagreement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wrong = 10 * time.Second
		net := online
		net.NTP = []string{"right", "wrong"}
		b := newBench(net, nil)
		var log strings.Builder
		b.log = logline.New(&log, slog.LevelWarn)
		gone := ""
		b.answers = func(server string) (answer, error) {
			if server == gone {
				return dead(server)
			}
			a := answer{server, -b.fake.offset, 20 * time.Millisecond, 2}
			if server == "wrong" {
				a.offset += wrong
				if len(b.asked)%8 >= 4 {
					a.distance = 10 * time.Millisecond
				} else {
					a.distance = 30 * time.Millisecond
				}
			}
			return a, nil
		}
		source := func() string { return b.states[len(b.states)-1].Source }
		b.run(t, 24*time.Hour)
		if b.fake.steps != nil || source() != "right" || b.last != "right" {
			t.Errorf("%s is believed, %s was before, after steps of %v", source(), b.last, b.fake.steps)
		}
		if lines, n := strings.Count(log.String(), "\n"), len(b.asked); lines < 1 || lines > 8 || n < 80 {
			t.Errorf("in %d rounds this is told:\n%s", n, &log)
		}
		if !strings.HasPrefix(log.String(), "<4>time server wrong is not believed source=right differs=10s\n") {
			t.Errorf("told:\n%s", &log)
		}
		gone = "right"
		b.pass(time.Hour)
		gone = ""
		b.pass(24 * time.Hour)
		if want := []time.Duration{wrong}; !slices.Equal(b.fake.steps, want) || source() != "wrong" {
			t.Errorf("%s is believed after steps of %v, want %v", source(), b.fake.steps, want)
		}
	})
}

// TestBackOff: dead servers are asked for ever, more and more seldom, and believed
// when they come back.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(online, dead)
		b.run(t, 3*time.Hour)
		var at []time.Duration
		for _, q := range b.asked {
			if q.at > firstLimit {
				at = append(at, q.at)
			}
		}
		pause := firstLimit
		for i, want := 0, minBackOff; i < len(at); i, want = i+1, min(2*want, maxBackOff) {
			last := pause
			if i > 0 {
				last = at[i-1]
			}
			if got := at[i] - last; got > want || got < want*3/4 {
				t.Errorf("pause %d is %v, want about %v", i, got, want)
			}
		}
		if len(at) < 12 {
			t.Errorf("asked at %v", at)
		}
		b.answers = func(server string) (answer, error) { return offset(time.Hour - b.fake.offset)(server) }
		b.pass(maxBackOff)
		if s := b.states[len(b.states)-1]; !s.Synchronised || s.Why != "" || len(b.fake.steps) != 1 {
			t.Errorf("%+v, steps %v", s, b.fake.steps)
		}
		b.answers = dead
		b.pass(maxBackOff)
		if s := b.states[len(b.states)-1]; !s.Synchronised || s.Why == "" || s.Source != "10.0.2.3" {
			t.Errorf("lost again: %+v", s)
		}
	})
}

// TestPoll: a clock that runs well is asked about seldom, one that does not often.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(online, offset(2*time.Millisecond))
		b.run(t, 3*time.Hour)
		last := func() slew { return b.fake.slews[len(b.fake.slews)-1] }
		if first := b.fake.slews[0]; first != (slew{2 * time.Millisecond, 10 * time.Millisecond, minPoll}) {
			t.Errorf("slewed by %+v first", first)
		}
		if got := last(); got.interval != maxPoll {
			t.Errorf("slewed by %+v after three hours", got)
		}
		if n := len(b.asked); b.asked[n-1].at-b.asked[n-2].at < maxPoll*3/4 {
			t.Errorf("asked at %v", b.asked)
		}
		b.answers = offset(-100 * time.Millisecond)
		b.pass(3 * time.Hour)
		if got := last(); got != (slew{-100 * time.Millisecond, 10 * time.Millisecond, minPoll}) {
			t.Errorf("slewed by %+v in the end", got)
		}
		if b.fake.steps != nil {
			t.Errorf("stepped by %v", b.fake.steps)
		}
	})
}

// TestStepAgain: after a suspend the clock is wrong for good, after a bad exchange it
// is not.
func TestStepAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(online, offset(time.Minute))
		b.run(t, time.Second)
		b.answers = func(server string) (answer, error) {
			b.answers = offset(0)
			return offset(time.Hour)(server)
		}
		b.pass(minPoll)
		if n := len(b.asked); n != 2 || len(b.fake.slews) != 1 {
			t.Errorf("asked %v, slewed %v", b.asked, b.fake.slews)
		}
		b.pass(minBackOff)
		if n := len(b.asked); n != 3 || len(b.fake.slews) != 2 {
			t.Errorf("asked %v, slewed %v", b.asked, b.fake.slews)
		}
		b.answers = func(server string) (answer, error) { return offset(time.Hour - b.fake.offset)(server) }
		b.pass(maxPoll)
		if want := []time.Duration{time.Minute, 59 * time.Minute}; !slices.Equal(b.fake.steps, want) {
			t.Errorf("stepped by %v, want %v", b.fake.steps, want)
		}
		if want := (slew{0, 10 * time.Millisecond, minPoll}); !slices.Contains(b.fake.slews[2:], want) {
			t.Errorf("slewed by %v: the kernel does not know that the clock is right", b.fake.slews)
		}
	})
}

// TestNotAllowed: a container may not set the clock, and boots all the same.
func TestNotAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(online, offset(time.Minute))
		b.fake.err = errors.New("not permitted")
		b.run(t, time.Minute)
		if want := (message{firstLimit, "READY=1\nSTATUS=source=none why=\"not permitted\""}); !reflect.DeepEqual(b.told[0], want) {
			t.Errorf("told init %v, want %v", b.told[0], want)
		}
	})
}
