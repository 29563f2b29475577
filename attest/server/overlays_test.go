package server

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/extract"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// press seals and publishes overlays.
type press struct {
	Publisher
	signer ed25519.PrivateKey
	server *age.HybridIdentity
}

func newPress(t *testing.T, r *store.Registry) *press {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &press{Publisher{Folder: t.TempDir(), Identities: []age.Identity{id}, Registry: r}, signer, id}
}

// seal gives a ciphertext and its manifest.
func (p *press) seal(t *testing.T, m *manifest.Manifest) (ciphertext, signed []byte) {
	t.Helper()
	m.Format, m.Created = manifest.Format, time.Unix(1790000000, 0).UTC()
	var b bytes.Buffer
	err := seal.Seal(&b, []age.Recipient{p.server.Recipient()}, m, func(w *archive.Writer) error {
		text := fmt.Sprintf("%s %d", m.Name, m.Version)
		return w.Add(archive.Entry{Path: "etc/motd", Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text))
	})
	if err != nil {
		t.Fatal(err)
	}
	if signed, err = manifest.Sign(m, p.signer); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), signed
}

func (p *press) publish(t *testing.T, m manifest.Manifest) (ciphertext []byte) {
	t.Helper()
	ciphertext, signed := p.seal(t, &m)
	p.write(t, m.Name, map[string][]byte{seal.ManifestFile: signed, seal.CiphertextFile: ciphertext})
	return ciphertext
}

// write replaces a folder as a whole.
func (p *press) write(t *testing.T, name string, files map[string][]byte) {
	t.Helper()
	folder := filepath.Join(p.Folder, name)
	if err := errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	for file, b := range files {
		if err := os.WriteFile(filepath.Join(folder, file), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// use has the server use what is published.
func (p *press) use(t *testing.T, l *lab, policies string) {
	t.Helper()
	s := settings(t, policies)
	var err error
	if s.Overlays, err = p.Read(t.Context(), l.settings.Load().Overlays); err != nil {
		t.Fatal(err)
	}
	s.PrivateOverlays = l.settings.Load().PrivateOverlays
	l.Replace(s)
}

const overlayPolicy = "- {name: p, tiers: [attested], overlay: base, version: 2}"

// A machine opens what it was granted.
func TestOverlay(t *testing.T) {
	l := start(t, overlayPolicy)
	p := newPress(t, l.registry)
	m := newMachine(t, "a")
	l.wantRefused(t, l.attest(t, m), 503, CodeNoOverlay)
	p.publish(t, manifest.Manifest{Name: "base", Version: 1})
	p.use(t, l, overlayPolicy)
	l.wantRefused(t, l.attest(t, m), 503, CodeOldOverlay)
	ciphertext := p.publish(t, manifest.Manifest{Name: "base", Version: 2})
	p.use(t, l, overlayPolicy)

	client, nonce := l.dial(t)
	r := m.request(t, nonce)
	g := m.open(t, r.Binding(nonce), l.post(t, client, encode(t, r)))
	if r := l.last(t); r.Overlay != "base" || r.OverlayVersion != 2 || r.Decision != "allow" {
		t.Errorf("audit %+v", r)
	}
	var key manifest.Key
	copy(key[:], p.signer.Public().(ed25519.PublicKey))
	signed, err := manifest.Open(g.Overlay.Manifest, key)
	if err != nil || signed.Version != 2 {
		t.Fatalf("manifest %+v, %v", signed, err)
	}
	resp, err := client.Get("https://example.com/" + g.Overlay.URL) // the same connection
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, resp)
	if got.status != 200 || !bytes.Equal(got.body, ciphertext) {
		t.Fatalf("status %d, %d bytes of %d", got.status, len(got.body), len(ciphertext))
	}
	id, err := extract.Open(g.Overlay.FileKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := age.Decrypt(bytes.NewReader(got.body), id); err != nil {
		t.Error(err)
	}
	if text := l.audit.String() + l.log.String(); strings.Contains(text, fmt.Sprintf("%x", g.Overlay.FileKey)) {
		t.Error("the file key is in a log")
	}
}

func TestUnfitOverlays(t *testing.T) {
	for name, test := range map[string]struct {
		manifest manifest.Manifest
		pass     time.Duration
		status   int
		code     string
	}{
		"expired":            {manifest.Manifest{Name: "base", Version: 2, Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}, 2 * time.Hour, 503, CodeExpiredOverlay},
		"for other machines": {manifest.Manifest{Name: "base", Version: 2, Nodes: []string{strings.Repeat("b", 64)}}, 0, 403, CodeOthersOverlay},
	} {
		t.Run(name, func(t *testing.T) {
			l := start(t, overlayPolicy)
			p := newPress(t, l.registry)
			p.publish(t, test.manifest)
			p.use(t, l, overlayPolicy)
			l.pass(test.pass)
			l.wantRefused(t, l.attest(t, newMachine(t, "a")), test.status, test.code)
		})
	}
}

// What is wrong with one overlay does not touch the others, nor the version of it that is in use.
func TestPublisher(t *testing.T) {
	l := start(t, anyPolicy)
	p := newPress(t, l.registry)
	stranger := newPress(t, l.registry)
	p.publish(t, manifest.Manifest{Name: "good", Version: 1})
	p.publish(t, manifest.Manifest{Name: "base", Version: 5})
	old, err := p.Read(t.Context(), nil)
	if err != nil || len(old) != 2 {
		t.Fatalf("%v, %v", old, err)
	}
	ciphertext, signed := p.seal(t, &manifest.Manifest{Name: "base", Version: 6})
	older, olderSigned := p.seal(t, &manifest.Manifest{Name: "base", Version: 4})
	theirs, theirsSigned := stranger.seal(t, &manifest.Manifest{Name: "base", Version: 6})
	_, otherName := p.seal(t, &manifest.Manifest{Name: "else", Version: 6})
	for _, test := range []struct {
		name  string
		files map[string][]byte
		want  string
		keys  []manifest.Key
	}{
		{"empty", nil, "no such file", nil},
		{"no ciphertext", map[string][]byte{seal.ManifestFile: signed}, "no such file", nil},
		{"being copied", map[string][]byte{seal.ManifestFile: signed, seal.CiphertextFile: ciphertext[:100]}, "has 100 bytes", nil},
		{"damaged manifest", map[string][]byte{seal.ManifestFile: signed[:20], seal.CiphertextFile: ciphertext}, "not signed", nil},
		{"another's name", map[string][]byte{seal.ManifestFile: otherName, seal.CiphertextFile: ciphertext}, `that of "else"`, nil},
		{"for another server", map[string][]byte{seal.ManifestFile: theirsSigned, seal.CiphertextFile: theirs}, "opening an overlay's header", nil},
		{"wrong signer", map[string][]byte{seal.ManifestFile: signed, seal.CiphertextFile: ciphertext}, "not signed by a key that is trusted", []manifest.Key{{1}}},
		{"older version", map[string][]byte{seal.ManifestFile: olderSigned, seal.CiphertextFile: older}, "a newer version has been published: 5", nil},
		{"odd address", map[string][]byte{seal.ManifestFile: signed, seal.AddressFile: []byte("file"), seal.HeaderFile: ciphertext}, "no address", nil},
		{"address without a header", map[string][]byte{seal.ManifestFile: signed, seal.AddressFile: []byte("https://example.com/a")}, "no such file", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			p.write(t, "base", test.files)
			p.Keys = test.keys
			now, err := p.Read(t.Context(), old)
			if err == nil || !strings.Contains(err.Error(), `reading overlay "base"`) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if now["base"] != old["base"] || now["good"] == nil {
				t.Errorf("left: %v", now)
			}
			if first, err := p.Read(t.Context(), nil); err == nil || first["base"] != nil {
				t.Errorf("at the start: %v, %v", first, err)
			}
		})
	}
	p.Keys = nil
	t.Run("removed", func(t *testing.T) {
		if err := os.RemoveAll(filepath.Join(p.Folder, "base")); err != nil {
			t.Fatal(err)
		}
		if now, err := p.Read(t.Context(), old); err != nil || now["base"] != nil || now["good"] == nil {
			t.Errorf("%v, %v", now, err)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		p.write(t, "base", map[string][]byte{seal.ManifestFile: signed, seal.AddressFile: []byte("https://files.example/a.age\n"), seal.HeaderFile: ciphertext[:min(len(ciphertext), seal.HeaderSize)]})
		p.write(t, ".copying", nil)
		now, err := p.Read(t.Context(), nil)
		if err != nil || len(now) != 2 {
			t.Fatalf("%v, %v", now, err)
		}
		if g := now["base"].grant(); g.URL != "https://files.example/a.age" || len(g.FileKey) != 16 {
			t.Errorf("grant %+v", g)
		}
	})
}

func TestFetch(t *testing.T) {
	l := start(t, overlayPolicy)
	p := newPress(t, l.registry)
	second := p.publish(t, manifest.Manifest{Name: "base", Version: 2})
	p.use(t, l, overlayPolicy)
	get := func(t *testing.T, version, ranges string, certificates ...tls.Certificate) answer {
		t.Helper()
		client, _ := l.dial(t, certificates...)
		r, err := http.NewRequest(http.MethodGet, "https://example.com/v1/overlay/base/"+version, nil)
		if err != nil {
			t.Fatal(err)
		}
		if ranges != "" {
			r.Header.Set("Range", ranges)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, resp)
	}
	fetched := func(t *testing.T, want record) {
		t.Helper()
		got := l.last(t)
		if want.Msg, want.Address = "fetch", "127.0.0.1"; got.Milliseconds == nil || (want.Decision == string(Refuse)) != (got.Reason != "") {
			t.Errorf("the audit log has %+v", got)
		}
		got.Milliseconds, got.Time, got.Reason = nil, time.Time{}, ""
		if got != want {
			t.Errorf("the audit log has\n%+v, want\n%+v", got, want)
		}
	}
	if a := get(t, "2", "bytes=10-19"); a.status != 206 || !bytes.Equal(a.body, second[10:20]) {
		t.Errorf("a part: status %d, %d bytes", a.status, len(a.body))
	}
	fetched(t, record{Decision: string(Allow), Code: CodeAllowed, Overlay: "base", OverlayVersion: 2, Bytes: 10})
	if a := get(t, "1", ""); a.status != 404 || a.problem.Code != CodeNoOverlay {
		t.Errorf("another version: status %d", a.status)
	}
	if r := l.last(t); r.Reason != `there is no overlay "base" of version "1", or no longer` {
		t.Errorf("the reason is %q", r.Reason)
	}
	fetched(t, record{Decision: string(Refuse), Code: CodeNoOverlay})

	third := p.publish(t, manifest.Manifest{Name: "base", Version: 3}) // the files of version 2 are gone
	p.use(t, l, overlayPolicy)
	for version, want := range map[string][]byte{"2": second, "3": third} {
		if a := get(t, version, ""); a.status != 200 || !bytes.Equal(a.body, want) {
			t.Errorf("version %s: status %d", version, a.status)
		}
	}
	l.pass(certificateLife)
	if a := get(t, "2", ""); a.status != 404 {
		t.Errorf("what is gone for long: status %d", a.status)
	}

	s := *l.settings.Load()
	s.PrivateOverlays = true
	l.Replace(&s)
	if a := get(t, "3", ""); a.status != 403 || a.problem.Code != CodeNoCertificate {
		t.Errorf("private, without a certificate: status %d", a.status)
	}
	fetched(t, record{Decision: string(Refuse), Code: CodeNoCertificate, Overlay: "base", OverlayVersion: 3})
	l.pass(-certificateLife) // TLS has the machine's clock
	m := newMachine(t, "a")
	g := l.grant(t, m)
	certificate := tls.Certificate{Certificate: g.Certificates, PrivateKey: m.key}
	if a := get(t, "3", "", certificate); a.status != 200 || !bytes.Equal(a.body, third) {
		t.Errorf("private: status %d", a.status)
	}
	fetched(t, record{Decision: string(Allow), Code: CodeAllowed, Node: m.node(), Overlay: "base", OverlayVersion: 3, Bytes: int64(len(third))})
	l.pass(certificateLife + time.Second) // it ends while the connection is open
	if a := get(t, "3", "", certificate); a.status != 403 || a.problem.Code != CodeNoCertificate {
		t.Errorf("private, with a certificate that has ended: status %d", a.status)
	}
	l.pass(-certificateLife - time.Second)
	if err := l.registry.Revoke(t.Context(), m.node(), "", "ann"); err != nil {
		t.Fatal(err)
	}
	if a := get(t, "3", "", certificate); a.status != 403 || a.problem.Code != CodeRevoked {
		t.Errorf("private, revoked: status %d", a.status)
	}
	fetched(t, record{Decision: string(Refuse), Code: CodeRevoked, Node: m.node(), Overlay: "base", OverlayVersion: 3})
	l.Replace(func() *Settings {
		s := *settings(t, anyPolicy)
		s.Overlays, s.PrivateOverlays = l.settings.Load().Overlays, true
		return &s
	}())
	other := newMachine(t, "b")
	g = l.grant(t, other)
	if a := get(t, "3", "", tls.Certificate{Certificate: g.Certificates, PrivateKey: other.key}); a.status != 403 || a.problem.Code != CodeNoCertificate {
		t.Errorf("private, of a machine that was not granted it: status %d", a.status)
	}
	if g.Tier != protocol.Attested {
		t.Errorf("tier %s", g.Tier)
	}
}
