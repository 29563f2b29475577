package service

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/ember-os/ember/os/stage"
)

// begin marks the units with the given names, and all that they require and want, as
// started, and returns the new ones. mu is held.
func (m *Manager) begin(names []string) []*run {
	var runs []*run
	seen := map[*service]bool{}
	var visit func(names []string)
	visit = func(names []string) {
		for _, name := range names {
			s := m.units[name]
			if s == nil || seen[s] {
				continue
			}
			seen[s] = true
			if s.life == nil || s.status.State == Failed {
				runs = append(runs, s.begin())
			}
			visit(s.status.Units)
		}
	}
	visit(names)
	return runs
}

// begin makes a unit one that has been started; mu is held.
func (s *service) begin() *run {
	ctx, cancel := context.WithCancel(context.Background())
	s.life = &run{service: s, ctx: ctx, cancel: cancel, unit: s.unit,
		tried: make(chan struct{}), settled: make(chan struct{}), ended: make(chan struct{}), hurry: make(chan struct{})}
	s.status.State, s.status.Reason, s.status.Since = Waiting, "", stage.Now()
	return s.life
}

// link finds which started units each started unit starts after, and returns what it
// had to leave out because it would never start. A target starts after all its units,
// unless they start after it. mu is held.
func (m *Manager) link() (cycles []string) {
	names := slices.Sorted(maps.Keys(m.units))
	for _, name := range names {
		m.units[name].after = nil
	}
	for _, name := range names {
		for _, before := range m.units[name].unit.After {
			if !m.order(m.units[name], m.units[before]) {
				cycles = append(cycles, fmt.Sprintf("%s does not start after %s, which starts after it", name, before))
			}
		}
	}
	for _, name := range names {
		if s := m.units[name]; s.unit.Service == nil {
			for _, before := range s.status.Units {
				m.order(s, m.units[before])
			}
		}
	}
	return cycles
}

// order has s start after before. It is false if that makes a cycle.
func (m *Manager) order(s, before *service) bool {
	if before == nil || before.life == nil || s.life == nil {
		return true
	}
	seen := map[*service]bool{}
	var reaches func(from *service) bool
	reaches = func(from *service) bool {
		seen[from] = true
		return from == s || slices.ContainsFunc(from.after, func(next *service) bool { return !seen[next] && reaches(next) })
	}
	if reaches(before) {
		return false
	}
	s.after = append(s.after, before)
	return true
}
