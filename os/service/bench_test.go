package service

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"github.com/ember-os/ember/os/reaper"
	"github.com/ember-os/ember/os/unit"
)

// BenchmarkStart starts a program, which ends at once, and stops its manager.
func BenchmarkStart(b *testing.B) {
	dir, err := os.MkdirTemp("/tmp", "ember-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	r := reaper.New()
	go r.Run(b.Context())
	u := simple("a.service", "exit:0")
	u.Service.Type = unit.Oneshot
	for b.Loop() {
		m := New(Options{Reaper: r, Dir: dir, Log: slog.New(slog.DiscardHandler), Spawn: func(f func()) { go f() }})
		if err := m.Start([]unit.Unit{u}, u.Name); err != nil {
			b.Fatal(err)
		}
		if state, err := m.Wait(b.Context(), u.Name); state != Dead || err != nil {
			b.Fatal(state, err)
		}
		if err := m.Stop(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
