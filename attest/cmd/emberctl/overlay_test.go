package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/seal"
)

// publish seals a version that says text, and publishes it.
func (d *desk) publish(t *testing.T, text string, flags ...string) string {
	t.Helper()
	if err := os.MkdirAll("tree/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("tree/etc/motd", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d.ok(t, append([]string{"seal", "tree", "--name", "rack", "--key", "keys/signing.key", "--recipient", "keys/attestd.recipient", "--out", "sealed"}, flags...)...)
	return d.ok(t, "overlay", "publish", "sealed/rack")
}

func TestOverlays(t *testing.T) {
	d := sit(t)
	if err := os.Mkdir("sealed", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := d.ok(t, "overlay", "list", "--json"); got != "[]\n" {
		t.Errorf("at first there is %s", got)
	}
	if got, want := d.publish(t, "one"), "published version 1 of overlay rack\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	if got, want := d.publish(t, "two"), "published version 2 of overlay rack in the place of version 1\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	if got, want := d.ok(t, "overlay", "publish", "sealed/rack"), "published version 2 of overlay rack, which was there already\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	second, err := os.ReadFile("overlays/rack/" + seal.CiphertextFile)
	if err != nil {
		t.Fatal(err)
	}
	got := d.ok(t, "overlay", "rollback", "rack", "1", "--key", "keys/signing.key", "--expires", "30d", "--yes")
	if want := "published version 3 of overlay rack in the place of version 2\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	var list []depot.Overlay
	if err := json.Unmarshal([]byte(d.ok(t, "overlay", "list", "rack", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	v := list[0].Versions
	if len(v) != 3 || v[0].Version != 3 || v[0].Ciphertext != v[2].Ciphertext || v[0].Expires.IsZero() || !v[2].Expires.IsZero() || list[0].Newest != 3 {
		t.Errorf("there is %+v", list)
	}
	status, got, said := d.run("overlay", "rollback", "rack", "2", "--downgrade", "--yes")
	third, err := os.ReadFile("overlays/rack/" + seal.CiphertextFile)
	if err != nil {
		t.Fatal(err)
	}
	if status != done || got != "published version 2 of overlay rack in the place of version 3\n" || !strings.Contains(said, "in the place of version 3, and forgets that version 3 was published.\nMachines get it when they boot") || !bytes.Equal(second, third) {
		t.Errorf("status %d: %s, %s", status, got, said)
	}
	table := d.ok(t, "overlay", "list")
	table = regexp.MustCompile(`20\d\d-\d\d-\d\dT[0-9:]+Z`).ReplaceAllString(table, "TTTT-TT-TTTTT:TT:TTZ")
	golden(t, "overlay-list.golden", table)
	d.no(t, refused, "has been published", "overlay", "rollback", "rack", "1", "--key", "keys/signing.key", "-y", "--version", "1")
	// The next version is one that there never was.
	if got, want := d.ok(t, "overlay", "rollback", "rack", "1", "--key", "keys/signing.key", "-y"), "published version 4 of overlay rack in the place of version 2\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	d.audit(t,
		"ann overlay-publish rack 1 <nil>", "ann overlay-reissue rack 3 <nil>", "ann overlay-downgrade rack 2 <nil>",
	)
}

func TestOverlaysRefused(t *testing.T) {
	d := sit(t)
	if err := os.Mkdir("sealed", 0o755); err != nil {
		t.Fatal(err)
	}
	d.publish(t, "five", "--version", "5")
	d.ok(t, "keygen", "--out", "other")
	d.no(t, notFound, "emberctl overlay list rack shows", "overlay", "rollback", "rack", "4", "--downgrade", "--yes")
	d.no(t, notFound, `overlay "shelf"`, "overlay", "list", "shelf")
	d.no(t, wrongCall, "one of --key and --downgrade", "overlay", "rollback", "rack", "5")
	d.no(t, wrongCall, "one of --key and --downgrade", "overlay", "rollback", "rack", "5", "--downgrade", "--key", "keys/signing.key")
	d.no(t, wrongCall, "are for a new version", "overlay", "rollback", "rack", "5", "--downgrade", "--expires", "1d")
	d.no(t, wrongCall, "are not the name", "overlay", "rollback", "rack", "five", "--downgrade")
	d.no(t, failed, "is other/signing.key the key", "overlay", "rollback", "rack", "5", "--key", "other/signing.key", "--yes")
	d.no(t, refused, "with --yes it is done", "overlay", "rollback", "rack", "5", "--downgrade")
	d.no(t, failed, "a folder that emberctl seal has made", "overlay", "publish", "tree")
	if err := os.Rename("sealed/rack", "five"); err != nil {
		t.Fatal(err)
	}
	d.ok(t, "seal", "tree", "--name", "rack", "--key", "keys/signing.key", "--recipient", "keys/attestd.recipient", "--out", "sealed")
	d.no(t, refused, "--version 6", "overlay", "publish", "sealed/rack")
	d.ok(t, "seal", "tree", "--name", "rack", "--key", "other/signing.key", "--recipient", "keys/attestd.recipient", "--out", "sealed", "--version", "7")
	d.no(t, refused, "not signed by a key that is trusted", "overlay", "publish", "sealed/rack")
	d.ok(t, "overlay", "publish", "five")
}

// TestLyingServer asks a server for a manifest to sign anew that gives another one, which the key has signed too.
func TestLyingServer(t *testing.T) {
	d := sit(t)
	if err := os.Mkdir("sealed", 0o755); err != nil {
		t.Fatal(err)
	}
	d.publish(t, "one")
	d.publish(t, "two")
	other, err := os.ReadFile("sealed/rack/" + seal.ManifestFile)
	if err != nil {
		t.Fatal(err)
	}
	honest := d.ok(t, "overlay", "list", "rack", "--json")
	l, err := net.Listen("unix", "lies.sock")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/overlays/rack", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Trim(strings.TrimSpace(honest), "[]"))
	})
	mux.HandleFunc("GET /v1/overlays/rack/1/manifest", func(w http.ResponseWriter, _ *http.Request) { w.Write(other) })
	mux.HandleFunc("POST /", func(http.ResponseWriter, *http.Request) { t.Error("it was sent a manifest") })
	go http.Serve(l, mux)
	d.no(t, failed, "gives the manifest of rack-2 for it", "overlay", "rollback", "rack", "1", "--key", "keys/signing.key", "--yes", "--server", "unix:lies.sock")
}
