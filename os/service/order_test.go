package service

import (
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/unit"
)

// TestOrder has a target that wants what is not there too.
func TestOrder(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		logs := h.path("order")
		service := func(name string, after ...string) unit.Unit {
			return with(notifying(name, "logstop:"+logs+":-"+name, "log:"+logs+":+"+name, "notify:READY=1"), func(u *unit.Unit) { u.After = after })
		}
		units := []unit.Unit{
			{Name: "all.target", Requires: []string{"middle.target"}, Wants: []string{"c", "missing.service"}},
			{Name: "middle.target", Wants: []string{"b", "a"}},
			service("c", "middle.target", "missing.service", "unused"), service("b", "a"), service("a"), service("unused"),
		}
		if err := h.Start(units, "all.target"); err != nil {
			t.Fatal(err)
		}
		h.settle("all.target", Active)
		if s := h.status("unused"); s.State != Dead {
			t.Errorf("nobody wants it: %+v", s)
		}
		h.stop(patience)
		if got := strings.Fields(h.read("order", 6)); !slices.Equal(got, []string{"+a", "+b", "+c", "-c", "-b", "-a"}) {
			t.Errorf("the order was %q", got)
		}
	})
}

func TestDependencies(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		h.start(
			simple("bad.service", "exit:3"),
			oneshot("bad-oneshot.service", "exit:3"),
			with(simple("needs.service"), func(u *unit.Unit) {
				u.Requires, u.After = []string{"bad-oneshot.service"}, []string{"bad-oneshot.service"}
			}),
			with(simple("needs-needs.service"), func(u *unit.Unit) { u.Requires, u.After = []string{"needs.service"}, []string{"needs.service"} }),
			with(simple("needs-missing.service"), func(u *unit.Unit) { u.Requires = []string{"missing.service"} }),
			with(simple("follows.service"), func(u *unit.Unit) { u.Wants, u.After = []string{"bad-oneshot.service"}, []string{"needs.service"} }),
			with(simple("broken.service"), func(u *unit.Unit) { u.Error = "ExecStart is not understood" }),
			with(simple("empty.service"), func(u *unit.Unit) { u.Service.ExecStart = nil }),
			simple("a/b.service"),
		)
		for name, want := range map[string]string{
			"bad-oneshot.service":   "exit status 3",
			"needs.service":         "dependency failed: bad-oneshot.service",
			"needs-needs.service":   "dependency failed: needs.service",
			"needs-missing.service": "dependency failed: there is no missing.service",
			"broken.service":        "ExecStart is not understood",
			"empty.service":         "it has 0 ExecStart commands where it must have one",
			"a/b.service":           "its name is not that of a file",
			"bad.service":           "exit status 3",
		} {
			if s := h.settle(name, Failed); s.Reason != want {
				t.Errorf("%s failed because of %q, want %q", name, s.Reason, want)
			}
		}
		h.settle("follows.service", Active)
		if err := h.Start(nil, "missing.service"); err == nil {
			t.Error("a unit that is not there was started")
		}
		if _, err := h.Wait(t.Context(), "missing.service"); err == nil {
			t.Error("Wait for a unit that is not there")
		}
	})
}

// TestRequiredRestarts has a service that comes up at the second attempt. What only
// starts after it does not wait for that; what requires it does.
func TestRequiredRestarts(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		after := func(name string, requires ...string) unit.Unit {
			return with(simple(name), func(u *unit.Unit) { u.After, u.Requires = []string{"a.service"}, requires })
		}
		h.start(after("follows.service"), after("needs.service", "a.service"),
			with(notifying("a.service", "notify:READY=1"), func(u *unit.Unit) {
				// The second attempt finds the file of the first, and waits for the test.
				u.Service.ExecStartPre = []unit.Command{command("once:"+h.path("first"), "wait:"+h.path("go"), "exit:0")}
				u.Service.Restart = "on-failure"
			}))
		h.settle("follows.service", Active)
		if s := h.status("needs.service"); s.State != Waiting {
			t.Errorf("what requires it does not wait: %+v", s)
		}
		appendTo(h.path("go"), "")
		h.settle("needs.service", Active)
		if s := h.settle("a.service", Active); s.Restarts != 1 || s.LastExit != "" {
			t.Errorf("what it requires: %+v", s)
		}
	})
}

func TestCycle(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		after := func(name, other string) unit.Unit {
			return with(simple(name), func(u *unit.Unit) { u.After = []string{other} })
		}
		h.start(after("a.service", "b.service"), after("b.service", "c.service"), after("c.service", "a.service"), after("d.service", "d.service"),
			unit.Unit{Name: "t.target", Wants: []string{"e.service"}}, after("e.service", "t.target"))
		for _, name := range []string{"a.service", "b.service", "c.service", "d.service", "e.service", "t.target"} {
			h.settle(name, Active)
		}
		for _, want := range []string{"c.service does not start after a.service, which starts after it", "d.service does not start after d.service"} {
			if strings.Count(h.logs.String(), want) != 1 {
				t.Errorf("the log does not say once: %s", want)
			}
		}
		if n := strings.Count(h.logs.String(), "does not start after"); n != 2 {
			t.Errorf("the log has %d cycles", n)
		}
	})
}

// TestMerge starts more units later, which replace what is known.
func TestMerge(t *testing.T) {
	inBoth(t, func(t *testing.T, h *harness) {
		target := unit.Unit{Name: "all.target", Wants: []string{"a.service", "b.service"}}
		a := simple("a.service")
		if err := h.Start([]unit.Unit{target, a, oneshot("b.service", "exit:1")}, "all.target"); err != nil {
			t.Fatal(err)
		}
		pid := h.settle("a.service", Active).PID
		h.settle("b.service", Failed)
		h.settle("all.target", Active)

		target.Wants = append(target.Wants, "c.service")
		a.Description = "changed"
		c := with(simple("c.service"), func(u *unit.Unit) { u.Problems = []string{"c.service:3: FooBar= is not supported"} })
		if err := h.Start([]unit.Unit{target, a, oneshot("b.service", "exit:0"), c}, "all.target"); err != nil {
			t.Fatal(err)
		}
		h.settle("b.service", Dead)
		if s := h.settle("c.service", Active); !slices.Equal(s.Problems, c.Problems) {
			t.Errorf("its problems: %q", s.Problems)
		}
		if s := h.status("a.service"); s.PID != pid || s.Description != "" {
			t.Errorf("what runs was changed: %+v", s)
		}
		for _, want := range []string{"a.service has changed, but runs as it was", "c: " + c.Problems[0]} {
			if strings.Count(h.logs.String(), want) != 1 {
				t.Errorf("the log does not say once: %s", want)
			}
		}
		if s := h.status("all.target"); !slices.Equal(s.Units, []string{"a.service", "b.service", "c.service"}) {
			t.Errorf("the target's units: %q", s.Units)
		}
	})
}
