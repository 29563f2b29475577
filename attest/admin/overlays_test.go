package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/overlaytest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

// shop is a server with a folder of overlays, and the operator's desk.
type shop struct {
	*Client
	maker    overlaytest.Maker
	depot    *depot.Depot
	registry *store.Registry
	mu       sync.Mutex
	log      []string
	refuse   error  // of Published
	stop     func() // stops the server, when it has answered everything
}

func openShop(t *testing.T) *shop {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	o := &shop{maker: overlaytest.New(t), registry: store.NewRegistry(s, nil)}
	o.depot = &depot.Depot{
		Folder: t.TempDir(), Identities: []age.Identity{o.maker.Server}, Registry: o.registry, Keep: 2, MaxSize: 1 << 20,
		Keys: []manifest.Key{o.maker.Key()},
	}
	server := httptest.NewServer((&Server{
		Registry: o.registry,
		Overlays: func() *depot.Depot { return o.depot },
		// What a server does when it reads its folder.
		Published: func(ctx context.Context, name string, version uint64) error {
			return errors.Join(o.refuse, o.registry.Publish(ctx, name, version))
		},
		Who: func(*http.Request) string { return "ann" },
		Audit: func(_ context.Context, a Action) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.log = append(o.log, fmt.Sprintf("%s %s %s %d %t", a.By, a.Action, a.Overlay, a.Version, a.Err == nil))
		},
	}).Handler())
	t.Cleanup(server.Close)
	o.stop = server.Close
	o.Client = &Client{HTTP: server.Client(), URL: server.URL}
	return o
}

// seal gives a folder with an overlay whose one file says what text is.
func (o *shop) seal(t *testing.T, version uint64, text string, change ...func(*manifest.Manifest)) string {
	t.Helper()
	return o.maker.Folder(t, overlaytest.Manifest("rack", version), text, change...)
}

func (o *shop) actions() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.log)
}

// versions are those of the overlay, the published one first.
func (o *shop) versions(t *testing.T) []uint64 {
	t.Helper()
	got, err := o.Overlay(t.Context(), "rack")
	if err != nil {
		t.Fatal(err)
	}
	var versions []uint64
	for i, v := range got.Versions {
		if v.Published != (i == 0) {
			t.Errorf("version %d is published: %t", v.Version, v.Published)
		}
		versions = append(versions, v.Version)
	}
	return versions
}

// contents are the published ciphertext.
func (o *shop) contents(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(o.depot.Folder, "rack", seal.CiphertextFile))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublish(t *testing.T) {
	o, ctx := openShop(t), t.Context()
	if list, err := o.Overlays(ctx); err != nil || len(list) != 0 {
		t.Fatalf("at first there is %+v, %v", list, err)
	}
	var sent int64
	folders := []string{""}
	for version := uint64(1); version <= 4; version++ {
		folder := o.seal(t, version, fmt.Sprint("text ", version))
		folders = append(folders, folder)
		v, err := o.Publish(ctx, "rack", folder, func(n int64) { sent += n })
		if err != nil || v.Version != version || !v.Published {
			t.Fatalf("version %d: %+v, %v", version, v, err)
		}
	}
	if sent < 4*1000 {
		t.Errorf("%d bytes are told of", sent)
	}
	if got := o.versions(t); !slices.Equal(got, []uint64{4, 3, 2}) { // two are kept
		t.Errorf("there are the versions %d", got)
	}
	if _, err := o.Publish(ctx, "rack", folders[4], nil); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if signed, err := o.Manifest(ctx, "rack", 2); err != nil || !bytes.Contains(signed, []byte(`"version":2`)) {
		t.Errorf("the manifest of version 2: %s, %v", signed, err)
	}
	o.refuse = errors.New("the server does not use it")
	if _, err := o.Publish(ctx, "rack", o.seal(t, 5, ""), nil); err == nil || err.Error() != o.refuse.Error() {
		t.Errorf("what is not put to use: %v", err)
	}
	want := []string{
		"ann overlay-publish rack 1 true", "ann overlay-publish rack 2 true", "ann overlay-publish rack 3 true",
		"ann overlay-publish rack 4 true", "ann overlay-publish rack 4 true", "ann overlay-publish rack 5 true",
	}
	if got := o.actions(); !slices.Equal(got, want) {
		t.Errorf("log:\n%s", strings.Join(got, "\n"))
	}
}

func TestPublishRefuses(t *testing.T) {
	o, ctx := openShop(t), t.Context()
	if _, err := o.Publish(ctx, "rack", o.seal(t, 5, "five"), nil); err != nil {
		t.Fatal(err)
	}
	before := o.contents(t)
	other := overlaytest.New(t)
	rewrite := func(file, text string) string {
		folder := o.seal(t, 9, "")
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	for name, test := range map[string]struct {
		folder, overlay string
		want            error
		says            string
	}{
		"older":             {o.seal(t, 4, ""), "rack", store.ErrOlder, "version 5"},
		"other contents":    {o.seal(t, 5, "other"), "rack", depot.ErrOther, ""},
		"another name":      {o.seal(t, 9, ""), "shelf", depot.ErrUnfit, `that of "rack"`},
		"no name":           {o.seal(t, 9, ""), "Rack", depot.ErrUnfit, "not the name of an overlay"},
		"wrong signer":      {overlaytest.Maker{Server: o.maker.Server, Signer: other.Signer}.Folder(t, overlaytest.Manifest("rack", 9), ""), "rack", depot.ErrUnfit, "not signed by a key that is trusted"},
		"sealed to another": {overlaytest.Maker{Server: other.Server, Signer: o.maker.Signer}.Folder(t, overlaytest.Manifest("rack", 9), ""), "rack", depot.ErrUnfit, "this server's recipient"},
		"expired": {o.seal(t, 9, "", func(m *manifest.Manifest) {
			m.Created = m.Created.Add(-2 * time.Hour)
			m.Expires = m.Created.Add(time.Hour)
		}), "rack", depot.ErrUnfit, "expired"},
		"too large":                {o.seal(t, 9, "", func(m *manifest.Manifest) { m.Ciphertext.Size = 2 << 20 }), "rack", depot.ErrUnfit, "--url"},
		"larger than it says":      {o.seal(t, 9, "", func(m *manifest.Manifest) { m.Ciphertext.Size-- }), "rack", depot.ErrUnfit, "more than"},
		"smaller than it says":     {o.seal(t, 9, "", func(m *manifest.Manifest) { m.Ciphertext.Size++ }), "rack", depot.ErrUnfit, "not the file"},
		"another ciphertext":       {o.seal(t, 9, "", func(m *manifest.Manifest) { m.Ciphertext.SHA256[0]++ }), "rack", depot.ErrUnfit, "not the file"},
		"no manifest":              {rewrite(seal.ManifestFile, "nonsense"), "rack", depot.ErrUnfit, "not signed"},
		"address without a header": {rewrite(seal.AddressFile, "https://files.example/rack"), "rack", nil, "reading the overlay"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := o.Publish(ctx, test.overlay, test.folder, nil)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	if !bytes.Equal(before, o.contents(t)) {
		t.Error("another overlay is published")
	}
	o.stop() // a request that the client has given up may still be cleaned up after
	left, err := filepath.Glob(filepath.Join(o.depot.Folder, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestOddForms sends what the client does not.
func TestOddForms(t *testing.T) {
	o := openShop(t)
	folder := o.seal(t, 1, "")
	form := func(files ...string) error {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for _, file := range files {
			part, err := w.CreateFormFile(file, file)
			if err != nil {
				t.Fatal(err)
			}
			contents, err := os.ReadFile(filepath.Join(folder, filepath.Base(file)))
			if err != nil {
				contents = []byte("odd")
			}
			part.Write(contents)
		}
		w.Close()
		return o.call(t.Context(), http.MethodPost, "/v1/overlays/rack", w.FormDataContentType(), &b, new(depot.Version))
	}
	for _, files := range [][]string{
		{}, {"overlay.age", "manifest"}, {"manifest", "manifest"}, {"manifest", "overlay.age", "overlay.age"}, {"manifest", "passwd"},
		{"manifest", "../manifest"}, {"manifest"}, {"manifest", "url"},
	} {
		if err := form(files...); err == nil {
			t.Errorf("%q are taken", files)
		}
	}
	if err := o.call(t.Context(), http.MethodPost, "/v1/overlays/rack", "text/plain", strings.NewReader("text"), nil); err == nil || !strings.Contains(err.Error(), "multipart") {
		t.Errorf("no form: %v", err)
	}
	if err := form("manifest", "overlay.age"); err != nil {
		t.Errorf("as it should be: %v", err)
	}
}

func TestGoingBack(t *testing.T) {
	o, ctx := openShop(t), t.Context()
	for version := uint64(1); version <= 2; version++ {
		if _, err := o.Publish(ctx, "rack", o.seal(t, version, fmt.Sprint("text ", version)), nil); err != nil {
			t.Fatal(err)
		}
	}
	second := o.contents(t)
	signed, err := o.Manifest(ctx, "rack", 1)
	if err != nil {
		t.Fatal(err)
	}
	m, err := manifest.Peek(signed)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		version uint64
		change  func()
		want    error
	}{
		{1, func() {}, store.ErrOlder},
		{1, func() { m.Version, m.Ciphertext.SHA256[0] = 3, m.Ciphertext.SHA256[0]+1 }, depot.ErrUnfit},
		{9, func() { m.Ciphertext.SHA256[0]-- }, depot.ErrNotFound},
	} {
		test.change()
		if _, err := o.Reissue(ctx, "rack", test.version, o.maker.Sign(t, m)); !errors.Is(err, test.want) {
			t.Errorf("reissuing version %d as %d: %v", test.version, m.Version, err)
		}
	}
	v, err := o.Reissue(ctx, "rack", 1, o.maker.Sign(t, m))
	if err != nil || v.Version != 3 {
		t.Fatalf("reissued as %+v, %v", v, err)
	}
	first := o.contents(t)
	if bytes.Equal(first, second) || int64(len(first)) != m.Ciphertext.Size {
		t.Error("the contents are not the first ones")
	}
	if got := o.versions(t); !slices.Equal(got, []uint64{3, 2, 1}) {
		t.Errorf("there are the versions %d", got)
	}

	if _, err := o.Downgrade(ctx, "rack", 9); !errors.Is(err, depot.ErrNotFound) {
		t.Errorf("to a version that is not there: %v", err)
	}
	if v, err := o.Downgrade(ctx, "rack", 2); err != nil || v.Version != 2 || !bytes.Equal(second, o.contents(t)) {
		t.Errorf("downgraded to %+v, %v", v, err)
	}
	if got := o.versions(t); !slices.Equal(got, []uint64{2, 3, 1}) {
		t.Errorf("there are the versions %d", got)
	}
	if newest, err := o.registry.Newest(ctx, "rack"); err != nil || newest != 2 {
		t.Errorf("the newest is %d, %v", newest, err)
	}
	if _, err := o.Publish(ctx, "rack", o.seal(t, 4, "four"), nil); err != nil {
		t.Errorf("after it: %v", err)
	}
	if want := "ann overlay-downgrade rack 2 true"; !slices.Contains(o.actions(), want) {
		t.Errorf("log:\n%s", strings.Join(o.actions(), "\n"))
	}
}

// A server that knows no key that signs takes nothing: what machines refuse would take the place of what they do not.
func TestWithoutKeys(t *testing.T) {
	o := openShop(t)
	o.depot.Keys = nil
	if _, err := o.Publish(t.Context(), "rack", o.seal(t, 1, ""), nil); !errors.Is(err, depot.ErrUnfit) || !strings.Contains(err.Error(), "no key for overlays is known") {
		t.Errorf("%v", err)
	}
}

// TestElsewhere publishes an overlay whose ciphertext is on another server.
func TestElsewhere(t *testing.T) {
	o := openShop(t)
	folder := o.seal(t, 1, "")
	head, err := os.ReadFile(filepath.Join(folder, seal.CiphertextFile))
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{seal.HeaderFile: string(head[:min(len(head), seal.HeaderSize)]), seal.AddressFile: "https://files.example/rack.age\n"} {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	v, err := o.Publish(t.Context(), "rack", folder, nil)
	if err != nil || v.URL != "https://files.example/rack.age" {
		t.Errorf("published as %+v, %v", v, err)
	}
	if _, err := os.Stat(filepath.Join(o.depot.Folder, "rack", seal.CiphertextFile)); err == nil {
		t.Error("the ciphertext was sent all the same")
	}
}
