package machine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
)

func boot(from Source, failures uint32, means Means) Boot {
	return Boot{From: from, Failures: failures, Means: means, Jitter: 0.5, Limits: DefaultLimits}
}

var names = map[string]Event{
	"done": Done, "no-answer": NoAnswer, "denied": Denied, "broken": Broken, "late": Late, "elapsed": Elapsed, "answer": Answer, "stop": Stop,
}

func text(actions []Action) string {
	var words []string
	for _, a := range actions {
		w := string(a.Verb)
		if a.Kept {
			w += "-kept"
		}
		if a.Limit > 0 {
			w += ":" + a.Limit.String()
		}
		words = append(words, w)
	}
	return strings.Join(words, "+")
}

// TestBoots has events, and after each the phase and the actions.
func TestBoots(t *testing.T) {
	next, kexec, both := Means{Next: true}, Means{Kexec: true}, Means{Next: true, Kexec: true}
	for _, tt := range []struct {
		name  string
		boot  Boot
		steps string
	}{
		{"good", boot(Network, 1, next), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			elapsed commit begin
			done kept
			answer kept
			no-answer kept`},
		{"no server", boot(Network, 1, next), "netboot begin:2m0s\ndone attest begin:3m0s\nno-answer leaving next"},
		{"a server that takes too long", boot(Network, 1, next), "netboot begin:2m0s\ndone attest begin:3m0s\nlate leaving next"},
		{"no network", boot(Network, 1, next), "netboot begin:2m0s\nno-answer leaving next"},
		{"no file server", boot(Network, 1, next), "netboot begin:2m0s\ndone attest begin:3m0s\ndone fetch begin:15m0s\nno-answer leaving next"},
		{"BootNext ignored", boot(Network, 1, kexec), "netboot begin:2m0s\nlate leaving kexec"},
		{"BootNext can not be set", boot(Network, 1, both), `netboot begin:2m0s
			late leaving next
			broken leaving kexec
			broken netboot report+begin:2m0s
			done attest begin:3m0s
			no-answer attest report+begin:3m0s`},
		{"no last-known-good", boot(Network, 1, Means{}), `netboot begin:2m0s
			late netboot report+begin:2m0s
			done attest begin:3m0s
			no-answer attest report+begin:3m0s
			late attest report+begin:3m0s
			done fetch begin:15m0s
			no-answer waiting wait:30s
			elapsed leaving reboot`},
		{"nothing to fall back to, and never a network", boot(Network, 1, kexec), `netboot begin:2m0s
			late leaving kexec
			broken netboot report+begin:2m0s` + strings.Repeat("\nlate netboot report+begin:2m0s", 7) + `
			late waiting wait:30s
			elapsed leaving reboot`},
		{"nothing to fall back to, and never a server", boot(Network, 3, Means{}), "netboot begin:2m0s\ndone attest begin:3m0s" +
			strings.Repeat("\nno-answer attest report+begin:3m0s", 4) + "\nlate waiting wait:2m0s\nelapsed leaving reboot"},
		{"refused", boot(Network, 1, both), "netboot begin:2m0s\ndone attest begin:3m0s\ndenied waiting wait:30s\nno-answer waiting\nlate waiting\nelapsed leaving reboot"},
		{"refused a configuration", boot(Network, 1, both), "netboot begin:2m0s\ndone attest begin:3m0s\ndone fetch begin:15m0s\ndenied waiting wait:30s\nelapsed leaving reboot"},
		{"a TPM that fails", boot(Network, 0, both), "netboot begin:2m0s\ndone attest begin:3m0s\nbroken waiting wait:15s\nelapsed leaving reboot"},
		{"a bad configuration", boot(Network, 3, both), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			broken waiting wait:2m0s
			elapsed leaving reboot`},
		{"never healthy", boot(Network, 10, both), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			late waiting wait:15m0s
			elapsed leaving reboot`},
		{"health flaps", boot(Network, 1, both), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			broken start begin
			done healthy wait:30s
			late healthy
			broken waiting wait:30s`},
		{"health flaps until it holds", boot(Network, 1, both), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			broken start begin
			done healthy wait:30s
			late healthy
			elapsed commit begin
			late commit
			no-answer kept report
			broken kept report`},
		{"commit during reboot", boot(Network, 1, both), `netboot begin:2m0s
			done attest begin:3m0s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			elapsed commit begin
			stop leaving
			done leaving
			broken leaving`},
		{"the disk, no network", boot(Disk, 1, Means{}), `netboot begin:20s
			late fetch begin-kept:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			elapsed commit begin
			done kept probe:1m0s
			broken kept report
			answer waiting wait:30s
			elapsed leaving return`},
		{"the disk, no server", boot(Disk, 1, Means{}), "netboot begin:20s\ndone attest begin:20s\nno-answer fetch begin-kept:15m0s"},
		{"the disk, a server that says no", boot(Disk, 1, both), "netboot begin:20s\ndone attest begin:20s\ndenied waiting wait:30s\nelapsed leaving reboot"},
		{"the disk, a server that says yes", boot(Disk, 1, Means{}), `netboot begin:20s
			done attest begin:20s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			elapsed commit begin
			done kept
			answer kept`},
		{"the disk, no file server", boot(Disk, 1, Means{}), "netboot begin:20s\ndone attest begin:20s\ndone fetch begin:15m0s\nno-answer fetch begin-kept:15m0s"},
		{"the disk, not the good slot", boot(Disk, 1, both), "netboot begin:20s\ndone attest begin:20s\nno-answer leaving next"},
		{"the disk, not the good slot, which can not be booted", boot(Disk, 1, both), `netboot begin:20s
			late leaving next
			broken leaving kexec
			broken fetch begin-kept:15m0s`},
		{"the disk, nothing to open", boot(Disk, 2, Means{}), "netboot begin:20s\nlate fetch begin-kept:15m0s\nbroken waiting wait:1m0s\nelapsed leaving reboot"},
		{"the disk, too slow to open", boot(Disk, 2, Means{}), "netboot begin:20s\nlate fetch begin-kept:15m0s\nlate waiting wait:1m0s"},
		{"the disk, never healthy", boot(Disk, 10, Means{}), `netboot begin:20s
			late fetch begin-kept:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			late start begin+report+probe:1m0s
			done healthy wait:30s
			answer healthy
			broken start begin+report
			done healthy wait:30s
			elapsed commit begin
			answer commit
			done kept
			answer waiting wait:15m0s
			answer waiting
			elapsed leaving return`},
		{"the disk, not healthy before the server is back", boot(Disk, 1, Means{}), `netboot begin:20s
			late fetch begin-kept:15m0s
			done apply begin:5m0s
			answer apply
			done start begin:15m0s
			late start begin+report+probe:1m0s
			answer waiting wait:30s
			elapsed leaving return`},
		{"the disk, health flaps until the limit is over", boot(Disk, 1, Means{}), `netboot begin:20s
			late fetch begin-kept:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			done healthy wait:30s
			late healthy
			broken start begin+report+probe:1m0s`},
		{"the disk, a service that can not be started", boot(Disk, 1, Means{}), `netboot begin:20s
			late fetch begin-kept:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			broken waiting wait:30s
			elapsed leaving reboot`},
		{"the disk, attested, never healthy", boot(Disk, 10, Means{}), `netboot begin:20s
			done attest begin:20s
			done fetch begin:15m0s
			done apply begin:5m0s
			done start begin:15m0s
			late waiting wait:15m0s
			elapsed leaving reboot`},
		{"stopped at once", boot(Network, 0, both), "netboot begin:2m0s\nstop leaving\nlate leaving"},
	} {
		m, actions := New(tt.boot)
		for i, step := range strings.Split(tt.steps, "\n") {
			words := append(strings.Fields(step), "")
			if i > 0 {
				m, actions = m.Next(names[words[0]])
				words = words[1:]
			}
			if got, want := string(m.Phase)+" "+text(actions), words[0]+" "+words[1]; got != want {
				t.Errorf("%s, step %d: %s, want %s", tt.name, i, got, want)
				break
			}
		}
	}
}

// TestGoesOn ends the work of each phase in each way: something has to follow.
func TestGoesOn(t *testing.T) {
	for _, p := range order[:len(order)-1] {
		for _, e := range []Event{Done, NoAnswer, Denied, Broken} {
			before := Machine{Phase: p, boot: boot(Network, 1, Means{})}
			if after, actions := before.Next(e); p != Healthy && after.Phase == p && len(actions) == 0 {
				t.Errorf("%s: nothing follows %v", p, e)
			}
		}
	}
}

func TestBackoff(t *testing.T) {
	seconds := []time.Duration{15, 30, 60, 120, 240, 480, 900, 900, 900}
	for n, want := range seconds {
		for _, jitter := range []float64{0, 0.5, 1} {
			b := boot(Network, uint32(n), Means{})
			b.Jitter = jitter
			got := Machine{boot: b}.backoff()
			if exact := time.Duration(float64(want*time.Second) * (0.8 + 0.4*jitter)); (got - exact).Abs() > time.Microsecond {
				t.Errorf("%d failures, jitter %v: %v, want %v", n, jitter, got, exact)
			}
		}
	}
	if got := (Machine{boot: boot(Network, 1<<32-1, Means{})}).backoff(); got != 15*time.Minute {
		t.Errorf("after many: %v", got)
	}
}

func TestStage(t *testing.T) {
	m, _ := New(boot(Network, 1, Means{}))
	if got := stage.FormatFields(m.Stage("")...); got != "phase=netboot from=network" {
		t.Error(got)
	}
	m, _ = New(boot(Disk, 4, Means{}))
	m, _ = m.Next(Late)
	if got := stage.FormatFields(m.Stage("no address")...); got != `phase=fetch from=disk overlay=kept attempt=4 why="no address"` {
		t.Error(got)
	}
}

// FuzzNext: whatever happens, a refusal leads to nothing that was kept, a failure to a reboot after a wait, and nobody
// is asked for ever.
func FuzzNext(f *testing.F) {
	f.Add(true, byte(3), []byte{0, 0, 2, 5, 3})
	f.Add(false, byte(0), []byte{4, 0, 0, 0, 5, 0, 6, 5})
	f.Add(true, byte(0), bytes.Repeat([]byte{byte(Late)}, 20))
	f.Fuzz(func(t *testing.T, network bool, means byte, events []byte) {
		b := boot(Disk, uint32(means), Means{means&1 != 0, means&2 != 0})
		if network {
			b.From = Network
		}
		m, _ := New(b)
		var told bytes.Buffer
		denied, stopped, left, asked := false, false, map[Verb]int{}, 0
		for _, e := range events {
			before := m
			event := Event(e % byte(len(names)))
			early := m.Phase == Netboot || m.Phase == Attest || m.Phase == Fetch
			denied = denied || event == Denied && early
			if early && (event == Late || event == NoAnswer) {
				asked++
			}
			var actions []Action
			m, actions = m.Next(event)
			stopped = stopped || event == Stop
			fmt.Fprintf(&told, "%v: %v -> %v %s\n", event, before.Phase, m.Phase, text(actions))
			if stopped && len(actions) > 0 {
				t.Fatalf("after a stop:\n%s", &told)
			}
			for _, a := range actions {
				left[a.Verb]++
				fallback := a.Verb == Next || a.Verb == Kexec || a.Kept
				if denied && (fallback || a.Verb == Begin) {
					t.Fatalf("after a refusal:\n%s", &told)
				}
				if a.Kept && b.From == Network {
					t.Fatalf("the wrong way to fall back:\n%s", &told)
				}
				if (a.Verb == Reboot || a.Verb == Return) && before.Phase != Waiting {
					t.Fatalf("a reboot without a wait:\n%s", &told)
				}
			}
			if m.Phase == Waiting && before.Phase != Waiting && (len(actions) != 1 || actions[0].Verb != Wait || actions[0].Limit < b.Limits.Backoff*4/5) {
				t.Fatalf("no wait:\n%s", &told)
			}
			if m.Phase == Leaving && before.Phase != Leaving && event != Stop && len(actions) == 0 {
				t.Fatalf("it stays for ever:\n%s", &told)
			}
		}
		if left[Next] > 1 || left[Kexec] > 1 || left[Reboot]+left[Return] > 1 || asked > 9 {
			t.Fatalf("twice, or for ever:\n%s", &told)
		}
	})
}
