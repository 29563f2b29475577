package main

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/store"
)

// A copy of a server's data folder that is made while it runs takes the folder's place.
func TestBackup(t *testing.T) {
	r, _ := begin(t, minimal)
	c, err := readConfig("attestd.yaml", flags{})
	if err != nil {
		t.Fatal(err)
	}
	enrolled, later := strings.Repeat("a", 64), strings.Repeat("b", 64)
	if err := r.admin.Enroll(t.Context(), enrolled, "rack 4"); err != nil {
		t.Fatal(err)
	}
	if err := backup(t.Context(), c, "copy"); err != nil {
		t.Fatal(err)
	}
	if err := backup(t.Context(), c, "copy"); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
	if err := r.admin.Enroll(t.Context(), later, ""); err != nil {
		t.Fatal(err)
	}
	authority, err := os.ReadFile("data/machines-ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	if err := backup(t.Context(), c, "other"); err == nil {
		t.Error("copied from a server that is not there")
	}
	if _, err := os.Stat("other"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a copy is left: %v", err)
	}
	if err := errors.Join(os.RemoveAll("data"), os.Rename("copy", "data")); err != nil {
		t.Fatal(err)
	}
	p, err := start(t.Context(), "attestd.yaml", flags{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if m, err := p.registry.Machine(t.Context(), enrolled); err != nil || m.Note != "rack 4" {
		t.Errorf("the machine that was enrolled: %+v, %v", m, err)
	}
	if m, err := p.registry.Machine(t.Context(), later); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the machine that was enrolled later: %+v, %v", m, err)
	}
	if again, err := os.ReadFile("data/machines-ca.pem"); err != nil || string(again) != string(authority) {
		t.Errorf("the machines' authority is another one: %v", err)
	}
}
