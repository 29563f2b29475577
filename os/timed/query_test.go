package timed

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func newClient(clock *fakeClock) *client {
	return &client{built: built, now: clock.Now, lookup: func(_ context.Context, _, host string) ([]netip.Addr, error) {
		if host == "pool.example" {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}, nil
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: host == "nowhere.example"}
	}, dial: new(net.Dialer).DialContext}
}

func TestAsk(t *testing.T) {
	good := &server{stratum: 2, dispersion: time.Second / 16}
	for name, test := range map[string]struct {
		server *server
		err    string // "" for an answer
	}{
		"good":           {good, ""},
		"in 2099":        {&server{stratum: 1, clock: func() time.Time { return trueNow().AddDate(73, 0, 0) }}, ""},
		"before build":   {&server{stratum: 1, clock: func() time.Time { return trueNow().AddDate(0, -1, 0) }}, "before the date of this build"},
		"in 1970":        {&server{stratum: 1, clock: func() time.Time { return time.Unix(3600, 0) }}, "before the date of this build"},
		"unsynchronised": {&server{leap: 3, stratum: 2}, "leap second"},
		"stratum 16":     {&server{stratum: 16}, "stratum"},
		"unsure":         {&server{stratum: 2, dispersion: 17 * time.Second}, "dispersion"},
		"refusing":       {&server{leap: 3, kiss: "DENY"}, `it refuses: "DENY"`},
		"loses one":      {&server{stratum: 2, silent: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := test.server.start(t)
			answers, err := newClient(new(fakeClock)).ask(t.Context(), []string{address}, "")
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), address) {
					t.Errorf("%v, %v; want an error with %q and the address", answers, err, test.err)
				}
				return
			}
			if err != nil || len(answers) != 1 || answers[0].server != address || answers[0].stratum != test.server.stratum {
				t.Fatalf("%+v, %v", answers, err)
			}
			// The tolerance is for a machine that is very busy: nothing is timed here.
			if off := answers[0].offset - test.server.clock().Sub(trueNow()); off.Abs() > time.Minute {
				t.Errorf("the offset is %v, which is wrong by %v", answers[0].offset, off)
			}
			if d := answers[0].distance; d < max(test.server.dispersion, minDistance) {
				t.Errorf("distance %v", d)
			}
		})
	}
}

// TestAskMany: servers that do not work do not keep others from being heard.
func TestAskMany(t *testing.T) {
	good := &server{stratum: 3}
	silent := &server{stratum: 1, silent: 1000}
	servers := []string{silent.start(t), "nowhere.example", "pool.example:junk", good.start(t), (&server{stratum: 1}).start(t)}
	c := newClient(new(fakeClock))
	answers, err := c.ask(t.Context(), servers, "")
	if err != nil || len(answers) != 1 || answers[0].server != good.address {
		t.Errorf("%+v, %v; want an answer of the good one among the first four", answers, err)
	}
	_, port, _ := strings.Cut(good.address, ":")
	if answers, err := c.ask(t.Context(), []string{"pool.example:" + port}, ""); err != nil || len(answers) != 1 || answers[0].server != good.address {
		t.Errorf("%+v, %v; want that of the one address that answers", answers, err)
	}
	_, err = c.ask(t.Context(), []string{"nowhere.example"}, "")
	if _, nobody := errors.AsType[errNobody](err); !nobody || err.Error() != "looking for nowhere.example: lookup nowhere.example: no such host" {
		t.Errorf("of a server that is not there: %v", err)
	}
	_, err = c.ask(t.Context(), []string{"nowhere.example", "elsewhere.example"}, "")
	if _, nobody := errors.AsType[errNobody](err); err == nil || nobody {
		t.Errorf("of servers of which one may be there: %v", err)
	}
}

// TestOutvoted has near servers that are wrong, or alone, among far ones, in the time
// of synctest.
func TestOutvoted(t *testing.T) {
	const ms = time.Millisecond
	liar := func(delay time.Duration) *server { return &server{stratum: 1, delay: delay, wrong: 24 * time.Hour} }
	honest := func(delay time.Duration) *server { return &server{stratum: 2, delay: delay} }
	lossy := func(delay time.Duration) *server { return &server{stratum: 2, delay: delay, silent: 1} }
	silent := func() *server { return &server{silent: 1000} }
	refusing := func() *server { return &server{leap: 3, kiss: "DENY"} }
	for name, test := range map[string]struct {
		servers []*server
		last    string        // the server that was chosen before
		wrong   time.Duration // of the answer that is chosen
		took    time.Duration
	}{
		"alone":                              {[]*server{honest(ms)}, "", 0, ms},
		"two":                                {[]*server{honest(ms), silent()}, "", 0, ms + grace},
		"two that disagree":                  {[]*server{liar(ms), honest(600 * ms)}, "", 24 * time.Hour, ms + grace},
		"two that disagree, the last is far": {[]*server{liar(ms), honest(600 * ms)}, "10.0.0.2", 0, 600 * ms},
		"the last is near":                   {[]*server{honest(ms), liar(600 * ms)}, "10.0.0.1", 0, ms + grace},
		"the last is dead":                   {[]*server{silent(), honest(ms)}, "10.0.0.1", 0, ms + patience},
		"three near ones":                    {[]*server{honest(ms), honest(2 * ms), honest(3 * ms)}, "", 0, 3 * ms},
		"one of three is dead":               {[]*server{honest(ms), silent(), honest(2 * ms)}, "", 0, ms + grace},
		"two of four are dead":               {[]*server{honest(ms), silent(), silent(), honest(2 * ms)}, "", 0, ms + grace},
		"a near liar":                        {[]*server{liar(ms), honest(600 * ms), honest(900 * ms)}, "", 0, 900 * ms},
		"a near liar, and a dead one":        {[]*server{liar(ms), honest(600 * ms), honest(900 * ms), silent()}, "", 0, 900 * ms},
		"a near liar, and lost packets":      {[]*server{liar(100 * ms), lossy(200 * ms), lossy(200 * ms)}, "", 0, replyTime + 200*ms},
		"only the near one lives":            {[]*server{honest(ms), silent(), silent()}, "", 0, ms + patience},
		"the others refuse":                  {[]*server{honest(ms), refusing(), refusing()}, "", 0, ms},
		"the others refuse, or are dead":     {[]*server{honest(ms), refusing(), silent()}, "", 0, ms + grace},
	} {
		setUp := func() (c *client, addresses []string) {
			began := time.Now()
			now := func() time.Time { return built.Add(time.Hour).Add(time.Since(began)) }
			byAddress := map[string]*server{}
			var pool []netip.Addr
			for i, s := range test.servers {
				s.asked.Store(0)
				s.clock = func() time.Time { return now().Add(s.wrong) }
				pool = append(pool, netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}))
				addresses = append(addresses, pool[i].String())
				byAddress[addresses[i]+":123"] = s
			}
			lookup := func(context.Context, string, string) ([]netip.Addr, error) { return pool, nil }
			dial := func(_ context.Context, _, address string) (net.Conn, error) { return byAddress[address].pipe(), nil }
			return &client{built: built, now: now, lookup: lookup, dial: dial}, addresses
		}
		check := func(t *testing.T, c *client, servers ...string) {
			began := time.Now()
			answers, err := c.ask(t.Context(), servers, test.last)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != test.took {
				t.Errorf("it took %v, want %v", took, test.took)
			}
			if best, _ := choose(answers, test.last); (best.offset - test.wrong).Abs() > time.Second {
				t.Errorf("of %+v, %+v is chosen", answers, best)
			}
			time.Sleep(time.Second) // until no server thinks any more
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, addresses := setUp()
				check(t, c, addresses...)
			})
		})
		t.Run(name+", by one name", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := setUp()
				check(t, c, "pool.example")
			})
		})
	}
}

// TestCancel: a question ends when it is not wanted any more.
func TestCancel(t *testing.T) {
	s := &server{silent: 1000}
	s.start(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-s.heard
		cancel()
	}()
	if _, err := newClient(new(fakeClock)).ask(ctx, []string{s.address}, ""); !errors.Is(err, errNoAnswer) || s.asked.Load() != 1 {
		t.Errorf("%v, asked %d times", err, s.asked.Load())
	}
}

func TestKissOfDeath(t *testing.T) {
	for code, again := range map[string]bool{"DENY": false, "RSTR": false, "RATE": true, "XYZW": true} {
		s := &server{leap: 3, kiss: code}
		s.start(t)
		c := newClient(new(fakeClock))
		for range 3 {
			if _, err := c.ask(t.Context(), []string{s.address}, ""); err == nil {
				t.Errorf("%s: an answer", code)
			}
		}
		if n := s.asked.Load(); n != 1 {
			t.Fatalf("%s: asked %d times in a row", code, n)
		}
		address := netip.MustParseAddrPort(s.address)
		first := c.rest[address].length
		if again != (first == minPoll) || !again && first < 365*24*time.Hour {
			t.Errorf("%s: left alone for %v", code, first)
		}
		// When the time is over, it is asked again, and left alone for longer.
		c.rest[address] = rest{time.Now(), first}
		c.ask(t.Context(), []string{s.address}, "")
		if r := c.rest[address]; again && (s.asked.Load() != 2 || r.length != 2*first) {
			t.Errorf("%s: then asked %d times, left alone for %v", code, s.asked.Load(), r.length)
		}
	}
}
