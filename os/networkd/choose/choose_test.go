package choose

import (
	"testing"
	"time"
)

func TestChoose(t *testing.T) {
	begun := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	routed := func(name string, p Preference, seconds int) Candidate { return Candidate{name, Routed, p, at(seconds)} }
	routeless := func(name string, p Preference, seconds int) Candidate {
		return Candidate{name, RouteLess, p, at(seconds)}
	}
	nothing := func(name string, p Preference) Candidate { return Candidate{Name: name, Preference: p} }
	for _, tt := range []struct {
		about      string
		best       Preference
		deadline   bool
		candidates []Candidate
		current    string
		now        int
		want       string
		again      int // 0 for never
	}{
		{about: "no links", best: Unnamed},
		{"nothing is ready", Unnamed, false, []Candidate{nothing("a", Unnamed)}, "", 1, "", 0},
		{"the first with a route", Unnamed, false, []Candidate{routed("a", Unnamed, 2), routed("b", Unnamed, 1)}, "", 3, "b", 0},
		{"the chosen one stays", Unnamed, false, []Candidate{routed("a", Unnamed, 2), routed("b", Unnamed, 1)}, "a", 3, "a", 0},
		{"both at once", Unnamed, false, []Candidate{routed("b", Unnamed, 1), routed("a", Unnamed, 1)}, "", 3, "a", 0},
		{"no route is not enough", Unnamed, false, []Candidate{routeless("usb", Unnamed, 1)}, "", 3, "", 0},
		{"no route loses to one that came later", Unnamed, true, []Candidate{routeless("usb", Unnamed, 1), routed("a", Unnamed, 2)}, "usb", 3, "a", 0},
		{"no route will do at the deadline", Unnamed, true, []Candidate{routeless("usb", Unnamed, 1)}, "", 120, "usb", 0},
		{"no route loses even if preferred", ByHWAddr, true, []Candidate{routeless("a", ByHWAddr, 1), routed("b", Unnamed, 2)}, "a", 30, "b", 0},
		{"the chosen one loses its route", Unnamed, false, []Candidate{routeless("a", Unnamed, 1)}, "a", 30, "a", 0},
		{"hw_addr is waited for", ByHWAddr, false, []Candidate{nothing("a", ByHWAddr), routed("b", Unnamed, 1)}, "", 1, "", 20},
		{"hw_addr is waited for with interface ready", ByHWAddr, false, []Candidate{nothing("a", ByHWAddr), routed("b", ByInterface, 1)}, "", 1, "", 20},
		{"hw_addr may not exist", ByHWAddr, false, []Candidate{routed("b", Unnamed, 1)}, "", 20, "b", 0},
		{"hw_addr before interface", ByHWAddr, false, []Candidate{routed("b", ByInterface, 1), routed("a", ByHWAddr, 2)}, "", 3, "a", 0},
		{"interface before others", ByInterface, false, []Candidate{routed("b", Unnamed, 1), routed("a", ByInterface, 2)}, "", 3, "a", 0},
		{"no patience behind the deadline", ByHWAddr, true, []Candidate{routed("b", Unnamed, 1)}, "", 16, "b", 0},
		{"no patience once there was a link", ByHWAddr, false, []Candidate{nothing("a", ByHWAddr), routed("b", Unnamed, 1)}, "a", 5, "b", 0},
		{"hw_addr comes back", ByHWAddr, false, []Candidate{routed("a", ByHWAddr, 50), routed("b", Unnamed, 1)}, "b", 60, "a", 0},
		{"another comes back", Unnamed, false, []Candidate{routed("a", Unnamed, 50), routed("b", Unnamed, 51)}, "b", 60, "b", 0},
		{"the chosen one is gone", Unnamed, false, []Candidate{nothing("a", Unnamed), routed("b", Unnamed, 1)}, "a", 60, "b", 0},
		{"the only one is gone", Unnamed, false, []Candidate{nothing("a", Unnamed)}, "a", 60, "", 0},
	} {
		s := Search{tt.best, begun, tt.deadline}
		got, again := s.Choose(tt.candidates, tt.current, at(tt.now))
		var wantAgain time.Time
		if tt.again != 0 {
			wantAgain = at(tt.again)
		}
		if got != tt.want || !again.Equal(wantAgain) {
			t.Errorf("%s: %q, again %v; want %q, %v", tt.about, got, again, tt.want, wantAgain)
		}
	}
}
