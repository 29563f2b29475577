package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
	"github.com/ember-os/ember/attest/view"
)

// start serves a registry on a unix socket. The log has a line for each action.
func start(t *testing.T) (*Client, *store.Registry, *[]string) {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	registry := store.NewRegistry(s, nil)
	log := new([]string)
	handler := (&Server{
		Registry:  registry,
		Overlays:  func() *depot.Depot { return nil },
		Published: func(context.Context, string, uint64) error { return nil },
		Who:       func(*http.Request) string { return "ann" },
		Audit: func(_ context.Context, a Action) {
			*log = append(*log, fmt.Sprintf("%s %s %.4s %v", a.By, a.Action, a.Node, a.Err))
		},
		Backup: s.Backup,
	}).Handler()
	t.Chdir(t.TempDir()) // the path may be longer than a socket's address
	l, err := net.Listen("unix", "admin")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return Unix("admin"), registry, log
}

func TestActions(t *testing.T) {
	c, registry, log := start(t)
	ctx := t.Context()
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	for _, node := range []string{a, b} {
		w := store.Waiting{Node: node, Claims: protocol.Claims{Serial: "S-" + node[:1]}}
		if _, err := registry.Enqueue(ctx, w, 9); err != nil {
			t.Fatal(err)
		}
	}
	queue, err := c.Queue(ctx)
	if err != nil || len(queue) != 2 || queue[0].Node != a || queue[1].Claims.Serial != "S-b" {
		t.Fatalf("queue: %+v, %v", queue, err)
	}
	for _, step := range []struct {
		name string
		do   func() error
		want error
	}{
		{"approve", func() error { return c.Approve(ctx, a, "rack 4") }, nil},
		{"approve twice", func() error { return c.Approve(ctx, a, "") }, store.ErrNotFound},
		{"enroll what is", func() error { return c.Enroll(ctx, a, "") }, store.ErrEnrolled},
		{"dismiss", func() error { return c.Dismiss(ctx, b) }, nil},
		{"enroll", func() error { return c.Enroll(ctx, b, "") }, nil},
		{"forget", func() error { return c.Forget(ctx, b) }, nil},
		{"revoke", func() error { return c.Revoke(ctx, b, "lost") }, nil},
		{"enroll what is revoked", func() error { return c.Enroll(ctx, b, "") }, store.ErrRevoked},
	} {
		if err := step.do(); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	want := []string{
		"ann approve aaaa <nil>", "ann approve aaaa reading \"queue/" + a + "\": not found", "ann enroll aaaa the machine is enrolled already",
		"ann dismiss bbbb <nil>", "ann enroll bbbb <nil>", "ann forget bbbb <nil>", "ann revoke bbbb <nil>", "ann enroll bbbb the machine is revoked",
	}
	if !slices.Equal(*log, want) {
		t.Errorf("log:\n%s", strings.Join(*log, "\n"))
	}
	enrolled, err1 := c.Node(ctx, a)
	revoked, err2 := c.Node(ctx, b)
	if err := errors.Join(err1, err2); err != nil || enrolled.Note != "rack 4" || enrolled.By != "ann" || revoked.State != view.Revoked {
		t.Errorf("machines: %+v, %+v, %v", enrolled, revoked, err)
	}
}

func TestBackup(t *testing.T) {
	c, registry, log := start(t)
	node := strings.Repeat("a", 64)
	if err := registry.Enroll(t.Context(), node, "rack 4", "ann"); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create("copy")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Backup(t.Context(), f), f.Close()); err != nil {
		t.Fatal(err)
	}
	s, err := bolt.Open("copy")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if m, err := store.NewRegistry(s, nil).Machine(t.Context(), node); err != nil || m.Note != "rack 4" {
		t.Errorf("in the copy: %+v, %v", m, err)
	}
	if len(*log) != 1 || (*log)[0] != "ann backup  <nil>" {
		t.Errorf("log: %q", *log)
	}
}

// A copy that breaks off is an error, whatever of it has come.
func TestBackupBroken(t *testing.T) {
	handler := (&Server{
		Who: func(*http.Request) string { return "" }, Audit: func(context.Context, Action) {},
		Backup: func(w io.Writer) error {
			io.WriteString(w, strings.Repeat("a", 1<<20))
			return errors.New("the disk is broken")
		},
	}).Handler()
	server := httptest.NewServer(handler)
	defer server.Close()
	c := &Client{HTTP: server.Client(), URL: server.URL}
	if err := c.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "receiving the copy") {
		t.Errorf("a copy that breaks off: %v", err)
	}
}

func TestPages(t *testing.T) {
	c, registry, _ := start(t)
	const more = Page + 3
	for i := range more {
		if _, err := registry.Enqueue(t.Context(), store.Waiting{Node: fmt.Sprintf("%064x", i)}, 2*Page); err != nil {
			t.Fatal(err)
		}
	}
	queue, err := c.Queue(t.Context())
	if err != nil || len(queue) != more || queue[more-1].Node != fmt.Sprintf("%064x", more-1) {
		t.Errorf("%d machines, %v", len(queue), err)
	}
}

func TestWrongCalls(t *testing.T) {
	c, _, log := start(t)
	node := strings.Repeat("a", 64)
	for _, test := range []struct{ node, note, want string }{
		{"../queue", "", "is not the name of a machine"},
		{strings.ToUpper(node), "", "is not the name of a machine"},
		{node, strings.Repeat("x", maxNote+1), "note is too long"},
		{node, strings.Repeat("x", 3*maxNote), "unexpected end"},
	} {
		if err := c.Enroll(t.Context(), test.node, test.note); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.20s with a note of %d bytes: %v", test.node, len(test.note), err)
		}
	}
	if _, err := c.Overlays(t.Context()); !errors.Is(err, ErrNoFolder) {
		t.Errorf("overlays without a folder: %v", err)
	}
	if err := c.get(t.Context(), "/v1/nothing", nil); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an unknown path: %v", err)
	}
	if len(*log) != 0 {
		t.Errorf("log: %q", *log)
	}
}
