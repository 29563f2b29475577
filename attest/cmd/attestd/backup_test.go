package main

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
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

// A server that was alone goes on with its records in etcd.
func TestImport(t *testing.T) {
	cluster := etcdtest.Start(t, 1, nil)
	r, _ := begin(t, minimal)
	c, err := readConfig("attestd.yaml", flags{})
	if err != nil {
		t.Fatal(err)
	}
	enrolled, waiting := strings.Repeat("a", 64), strings.Repeat("b", 64)
	if err := r.admin.Enroll(t.Context(), enrolled, "rack 4"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.registry.Enqueue(t.Context(), store.Waiting{Node: waiting, Problem: "ek-untrusted"}, 9); err != nil {
		t.Fatal(err)
	}
	if err := backup(t.Context(), c, "copy"); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t.Context(), c, "copy"); err == nil || !strings.Contains(err.Error(), "another process has") {
		t.Errorf("while the server runs: %v", err)
	}
	shared := *c
	shared.Data, shared.Store.Etcd.Endpoints = "other", etcdtest.Endpoints(cluster)
	if n, err := restore(t.Context(), &shared, "copy"); err != nil || n != 4 { // two machines, two secrets
		t.Fatalf("%d entries, %v", n, err)
	}
	if _, err := restore(t.Context(), &shared, "copy"); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := restore(t.Context(), &shared, "nothing"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no copy: %v", err)
	}
	s, err := openFor(t, &shared)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	registry := store.NewRegistry(s, nil)
	if m, err := registry.Machine(t.Context(), enrolled); err != nil || m.Note != "rack 4" {
		t.Errorf("the machine that was enrolled: %+v, %v", m, err)
	}
	if queue, err := registry.Queue(t.Context(), "", 9); err != nil || len(queue) != 1 || queue[0].Node != waiting {
		t.Errorf("the queue: %+v, %v", queue, err)
	}
	for _, name := range []string{"challenges", "receipts"} {
		here, err1 := r.registry.Secret(t.Context(), name, nil)
		there, err2 := registry.Secret(t.Context(), name, nil)
		if err := errors.Join(err1, err2); err != nil || !bytes.Equal(here, there) {
			t.Errorf("the key of %s is another one: %v", name, err)
		}
	}
}
