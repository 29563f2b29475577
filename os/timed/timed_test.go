package timed

import (
	"context"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/jsonfile"
	"github.com/ember-os/ember/os/netstate"
)

// TestClocks has everything work together but the clock and init: machines that wake
// up in the wrong century ask real servers, of which most are no use.
func TestClocks(t *testing.T) {
	for name, year := range map[string]int{"1970": 1970, "1999": 1999, "2099": 2099, "2231": 2231, "now": 0} {
		t.Run(name, func(t *testing.T) {
			servers := []*server{
				{stratum: 1, clock: func() time.Time { return time.Unix(0, 0) }},
				{stratum: 2},
				{stratum: 2, leap: 3},
				{kiss: "DENY", leap: 3},
			}
			net := netstate.State{Settled: true, Online: true}
			for _, s := range servers {
				net.NTP = append(net.NTP, s.start(t))
			}
			dir := t.TempDir()
			netPath, statePath := filepath.Join(dir, "network.json"), filepath.Join(dir, "time.json")
			clock := new(fakeClock)
			if year != 0 {
				clock.offset = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Sub(trueNow())
			}
			wrong := clock.offset
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			changed, err := netstate.Watch(ctx, netPath)
			if err != nil {
				t.Fatal(err)
			}
			told := make(chan string, 1)
			k := keeper{
				log: slog.New(slog.DiscardHandler), clock: clock, changed: changed, ask: newClient(clock).ask,
				network: func() (netstate.State, error) { return netstate.Read(netPath) },
				publish: func(s State) error {
					defer cancel()
					return s.write(statePath)
				},
				notify: func(text string) error {
					told <- text
					return nil
				},
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				k.run(ctx)
			}()
			if err := net.Write(netPath); err != nil {
				t.Fatal(err)
			}
			<-done
			if text := <-told; !strings.HasPrefix(text, "READY=1\nSTATUS=source="+servers[1].address+" offset=") {
				t.Errorf("told init %q", text)
			}
			if clock.offset.Abs() > time.Minute || year != 0 && (len(clock.steps) != 1 || len(clock.slews) != 1) {
				t.Errorf("the clock is still wrong by %v; steps %v, slews %v", clock.offset, clock.steps, clock.slews)
			}
			s, err := jsonfile.Read[State](statePath)
			if err != nil || !s.Synchronised || s.Source != servers[1].address || s.Stratum != 2 || (s.Offset+wrong).Abs() > time.Minute {
				t.Errorf("the state is %+v, %v", s, err)
			}
		})
	}
}

func TestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "time.json")
	for _, s := range []State{{}, {Why: "no network"}, {true, "10.0.2.3", -time.Hour, 2, built, "no answer"}} {
		if err := s.write(path); err != nil {
			t.Fatal(err)
		}
		if got, err := jsonfile.Read[State](path); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("read back %+v, %v; want %+v", got, err, s)
		}
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed, err := netstate.Watch(ctx, filepath.Join(dir, "network.json"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := (netstate.State{}).Write(filepath.Join(dir, "network.json")); err != nil {
			t.Fatal(err)
		}
		<-changed
	}
	if _, err := netstate.Watch(ctx, filepath.Join(dir, "missing", "network.json")); err == nil {
		t.Error("a folder that is not there is watched")
	}
}
