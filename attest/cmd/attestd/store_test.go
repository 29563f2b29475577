package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
)

// secured is an etcd that wants a certificate and a user, with a server's configuration for it.
func secured(t *testing.T) (*etcdtest.Member, *config) {
	t.Helper()
	dir := t.TempDir()
	own := newIssuer(t, "etcd", nil)
	own.writePair(t, dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	member := etcdtest.Start(t, 1, &etcdtest.TLS{Certificate: path("tls.pem"), Key: path("tls-key.pem"), Authority: path("tls.pem")})[0]
	e := etcdStore{
		Endpoints: []string{member.Endpoint()}, Prefix: defaultPrefix, Username: "attestd", PasswordFile: path("password"),
		TLS: etcdTLS{Authority: path("tls.pem"), Certificate: path("tls.pem"), Key: path("tls-key.pem")},
	}
	settings, err := (&etcdStore{Endpoints: e.Endpoints, TLS: e.TLS}).settings()
	if err != nil {
		t.Fatal(err)
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: e.Endpoints, TLS: settings.TLS})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	ctx := t.Context()
	for _, do := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "of all"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "attestd", "secret"); return err },
		func() error { _, err := root.RoleAdd(ctx, "attestd"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "attestd", defaultPrefix, clientv3.GetPrefixRangeEnd(defaultPrefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserGrantRole(ctx, "attestd", "attestd"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, e.PasswordFile, []byte("secret\n"))
	return member, &config{fixed: fixed{Data: t.TempDir(), Store: sharedStore{e}}}
}

func openFor(t *testing.T, c *config) (store.Store, error) {
	return openStore(t.Context(), c, slog.New(slog.DiscardHandler))
}

// The store is used with a certificate and a user, and goes on when etcd has forgotten who has logged in.
func TestSecuredStore(t *testing.T) {
	member, c := secured(t)
	s, err := openFor(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), "a", nil, 0, store.Forever); err != nil {
		t.Fatal(err)
	}
	if _, err := openFor(t, c); err == nil || !strings.Contains(err.Error(), "another process has "+c.Data) {
		t.Errorf("two servers with one data folder: %v", err)
	}
	member.Kill()
	member.Start()
	await(t, "another login", func() bool {
		_, err := s.Get(t.Context(), "a")
		return err == nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = openFor(t, c); err != nil {
		t.Fatal(err)
	}
	s.Close()

	for _, test := range []struct {
		name  string
		spoil func(*etcdStore)
		want  string
	}{
		{"wrong password", func(e *etcdStore) { e.PasswordFile = other(t, "wrong") }, "authentication failed"},
		{"empty password", func(e *etcdStore) { e.PasswordFile = other(t, "\n") }, "is empty"},
		{"no password file", func(e *etcdStore) { e.PasswordFile += "x" }, "reading etcd's password"},
		{"other keys", func(e *etcdStore) { e.Prefix = "/other/" }, "permission denied"},
		{"no certificate", func(e *etcdStore) { e.TLS.Certificate, e.TLS.Key = "", "" }, "opening the store in etcd"}, // whose alert a write may miss
		{"no certificate in the file", func(e *etcdStore) { e.TLS.Certificate = other(t, "") }, "reading the certificate for etcd"},
		{"another authority", func(e *etcdStore) { e.TLS.Authority = other(t, string(newIssuer(t, "x", nil).pem())) }, "x509: certificate signed by unknown authority"},
		{"no authority in the file", func(e *etcdStore) { e.TLS.Authority = other(t, "x") }, "has no certificate"},
		{"not there", func(e *etcdStore) { e.Endpoints = []string{"https://127.0.0.1:1"} }, "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // some take the time that a call may take
			spoilt := *c
			spoilt.Data = t.TempDir()
			test.spoil(&spoilt.Store.Etcd)
			s, err := openFor(t, &spoilt)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// other writes a file with that text.
func other(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
