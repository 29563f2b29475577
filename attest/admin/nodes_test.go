package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
	"github.com/ember-os/ember/attest/view"
)

func TestNodes(t *testing.T) {
	c, registry, _ := start(t)
	ctx := t.Context()
	for i := range 5 {
		v := store.Verdict{Node: fmt.Sprintf("%064x", i), Time: time.Now(), Code: store.Granted, Tier: protocol.Attested, Claims: protocol.Claims{Boot: []string{"network", "disk"}[i%2]}}
		if err := registry.Prove(ctx, v, store.Evidence{}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	after, pages := "", 0
	for {
		page, err := c.Nodes(ctx, view.Filter{Boot: "network"}, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Nodes {
			names = append(names, r.Node[63:])
		}
		if pages++; page.Next == "" {
			break
		}
		after = page.Next
	}
	if got := strings.Join(names, " "); got != "0 2 4" || pages != 2 {
		t.Errorf("%s on %d pages", got, pages)
	}
	if n, err := c.Node(ctx, fmt.Sprintf("%064x", 1)); err != nil || n.Boot != "disk" || n.Proof == nil {
		t.Errorf("one of them: %+v, %v", n, err)
	}
	if _, err := c.Node(ctx, strings.Repeat("f", 64)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	for path, want := range map[string]string{"/v1/nodes/x": "is not the name of a machine", "/v1/nodes?limit=0": "limit is", "/v1/nodes?limit=x": "limit is"} {
		if err := c.get(ctx, path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// BenchmarkNodes lists machines of a fleet of 10,000, over HTTP.
func BenchmarkNodes(b *testing.B) {
	s, err := bolt.Open(filepath.Join(b.TempDir(), "store"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	registry := store.NewRegistry(s, nil)
	done := make(chan error)
	const fleet, writers = 10_000, 250 // written together
	for w := range writers {
		go func() {
			var err error
			for i := w; i < fleet && err == nil; i += writers {
				v := store.Verdict{Node: fmt.Sprintf("%064x", i), Time: time.Now(), Code: store.Granted, Tier: protocol.Attested, Claims: protocol.Claims{Serial: fmt.Sprint("S-", i)}}
				err = registry.Prove(context.Background(), v, store.Evidence{})
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	server := httptest.NewServer((&Server{
		Registry: registry, Overlays: func() *depot.Depot { return nil }, Who: func(*http.Request) string { return "" },
	}).Handler())
	defer server.Close()
	c := &Client{HTTP: server.Client(), URL: server.URL}
	for name, f := range map[string]view.Filter{"first page": {}, "one by its serial number": {Search: "s-9999"}, "one by its name": {Node: fmt.Sprintf("%064x", 9999)}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if page, err := c.Nodes(b.Context(), f, "", 100); err != nil || len(page.Nodes) == 0 {
					b.Fatal(page, err)
				}
			}
		})
	}
}
