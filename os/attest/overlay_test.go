package attest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/overlaytest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/lkg/booted"
	"github.com/ember-os/ember/os/netstate"
)

// signed is an overlay with /etc/motd, and who can sign and open it.
type signed struct {
	overlaytest.Maker
	ciphertext []byte
	manifest   *manifest.Manifest
	fileKey    []byte
}

func newOverlay(t *testing.T) *signed {
	t.Helper()
	s := &signed{Maker: overlaytest.New(t), manifest: overlaytest.Manifest("rack", 7)}
	now := s.manifest.Created
	s.manifest.Created, s.manifest.Expires = now.Add(-time.Hour), now.Add(time.Hour)
	s.ciphertext = s.Seal(t, s.manifest, "hello")
	s.fileKey = s.FileKey(t, s.ciphertext)
	return s
}

func (s *signed) sign(t *testing.T) []byte { return s.Sign(t, s.manifest) }
func (s *signed) key() string              { return s.Key().String() }

// ours is what the machine of the tests has booted.
var ours = manifest.Digest{7}

func TestStage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*signed, *program, *client.Result)
		says   string // of the error; "" if it works
		unfit  bool
	}{
		"good":    {},
		"no keys": {change: func(_ *signed, p *program, _ *client.Result) { p.params.OverlayKeys = nil }, says: "who may sign it", unfit: true},
		"wrong key": {change: func(_ *signed, p *program, _ *client.Result) {
			p.params.OverlayKeys = []string{manifest.Key{1}.String()}
		}, says: "not signed by a key", unfit: true},
		"no key at all": {change: func(_ *signed, p *program, _ *client.Result) { p.params.OverlayKeys = []string{"x"} }, says: cmdline.OverlayKeyParam, unfit: true},
		"changed": {change: func(s *signed, _ *program, r *client.Result) {
			s.manifest.Version = 8
			text, _, _ := bytes.Cut(s.sign(t), []byte("\n"))
			s.manifest.Version = 7
			_, signature, _ := bytes.Cut(s.sign(t), []byte("\n"))
			r.Grant.Overlay.Manifest = append(append(text, '\n'), signature...)
		}, says: "not signed by a key", unfit: true},
		"wrong file key": {change: func(_ *signed, _ *program, r *client.Result) { r.Grant.Overlay.FileKey[0] ^= 1 }, says: "opening the ciphertext"},
		"short file key": {change: func(_ *signed, _ *program, r *client.Result) { r.Grant.Overlay.FileKey = nil }, says: "file key"},
		"another's":      {change: func(s *signed, _ *program, _ *client.Result) { s.manifest.Nodes = []string{strings.Repeat("b", 64)} }, says: "not for this machine", unfit: true},
		"ours":           {change: func(s *signed, _ *program, _ *client.Result) { s.manifest.Nodes = []string{strings.Repeat("a", 64)} }},
		"expired":        {change: func(_ *signed, _ *program, r *client.Result) { r.Grant.Time = r.Grant.Time.Add(2 * time.Hour) }, says: "expired", unfit: true},
		"expired by ours": {change: func(s *signed, _ *program, r *client.Result) {
			s.manifest.Expires = s.manifest.Created.Add(time.Second)
			r.Grant.Time = s.manifest.Created
		}, says: "expired", unfit: true},
		"older than the kept one":   {change: func(_ *signed, p *program, _ *client.Result) { p.least = Least{"rack", 8} }, says: "older than version 8", unfit: true},
		"as old as the kept one":    {change: func(_ *signed, p *program, _ *client.Result) { p.least = Least{"rack", 7} }},
		"another than the kept one": {change: func(_ *signed, p *program, _ *client.Result) { p.least = Least{"other", 8} }},
		"clock in doubt": {change: func(s *signed, _ *program, r *client.Result) {
			s.manifest.Expires, r.Grant.Time, r.Doubtful = s.manifest.Created.Add(time.Second), s.manifest.Created, true
		}},
		"our kernel": {change: func(s *signed, _ *program, _ *client.Result) { s.manifest.Kernel = ours }},
		"another kernel": {change: func(s *signed, _ *program, _ *client.Result) {
			s.manifest.Kernel = manifest.Digest{9}
		}, says: "is for another kernel", unfit: true},
		"no kernel": {change: func(s *signed, p *program, _ *client.Result) {
			s.manifest.Kernel = ours
			p.kernel = func() (manifest.Digest, error) { return manifest.Digest{}, os.ErrPermission }
		}, says: "is for one kernel only: " + os.ErrPermission.Error(), unfit: true},
		"our initrd": {change: func(s *signed, _ *program, _ *client.Result) { s.manifest.Initrd = ours }},
		"another initrd": {change: func(s *signed, _ *program, _ *client.Result) {
			s.manifest.Initrd = manifest.Digest{9}
		}, says: "is for another initrd", unfit: true},
		"unknown initrd": {change: func(s *signed, p *program, _ *client.Result) {
			s.manifest.Initrd = ours
			p.initrds = func() ([]manifest.Digest, bool, error) { return []manifest.Digest{{8}}, false, nil }
		}, says: "nothing tells that this machine has booted it: if it has, give it the kernel parameter " + booted.RetainParam, unfit: true},
		"measured initrd": {change: func(s *signed, p *program, _ *client.Result) {
			s.manifest.Initrd = ours
			p.initrds = func() ([]manifest.Digest, bool, error) { return []manifest.Digest{{8}, ours}, false, nil }
		}},
		"a damaged log": {change: func(s *signed, p *program, _ *client.Result) {
			s.manifest.Initrd = ours
			p.initrds = func() ([]manifest.Digest, bool, error) { return nil, false, os.ErrInvalid }
		}, says: "is for one initrd only: " + os.ErrInvalid.Error(), unfit: true},
		"any image": {change: func(_ *signed, p *program, _ *client.Result) { // what was booted is not looked at
			p.kernel, p.initrds = nil, nil
		}},
		"no room":   {change: func(s *signed, _ *program, _ *client.Result) { s.manifest.ArchiveSize = 1 << 39 }, says: "staging overlay rack-7: it needs", unfit: true},
		"not there": {change: func(_ *signed, _ *program, r *client.Result) { r.Grant.Overlay.URL = "missing" }, says: "404"},
		"elsewhere": {change: func(_ *signed, _ *program, r *client.Result) { r.Grant.Overlay.URL = "file:///etc/passwd" }, says: "begins with"},
		"bit flip":  {change: func(s *signed, _ *program, _ *client.Result) { s.ciphertext[len(s.ciphertext)-1] ^= 1 }, says: "reading overlay rack-7"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newOverlay(t)
			shown := make(chan int, 10)
			web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/sub/overlays/rack-7" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				shown <- len(r.TLS.PeerCertificates)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.ciphertext))
			}))
			web.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
			web.StartTLS()
			defer web.Close()
			p := &program{
				params: cmdline.Attest{URL: web.URL + "/sub/", Pins: []string{client.PinOf(web.Certificate()).String()}, OverlayKeys: []string{s.key()}},
				log:    slog.New(slog.DiscardHandler), anchors: t.TempDir(), staging: filepath.Join(t.TempDir(), "staging"), root: t.TempDir(),
				system:  func() (*x509.CertPool, error) { return nil, errors.New("not used") },
				kernel:  func() (manifest.Digest, error) { return ours, nil },
				initrds: func() ([]manifest.Digest, bool, error) { return []manifest.Digest{ours}, true, nil },
			}
			r := &client.Result{Certificate: web.TLS.Certificates[0], Grant: &protocol.Grant{
				Time: time.Now(), Node: strings.Repeat("a", 64), Overlay: &protocol.Overlay{URL: "overlays/rack-7", FileKey: s.fileKey},
			}}
			if c.change != nil {
				c.change(s, p, r)
			}
			if r.Grant.Overlay.Manifest == nil {
				r.Grant.Overlay.Manifest = s.sign(t)
			}
			o, err := p.stage(t.Context(), r)
			if c.says != "" {
				_, isUnfit := errors.AsType[unfit](err)
				if err == nil || !strings.Contains(err.Error(), c.says) || isUnfit != c.unfit {
					t.Errorf("the error is %v, unfit: %v", err, isUnfit)
				}
				if left, _ := os.ReadDir(p.staging); len(left) > 0 {
					t.Errorf("%v is left behind", left)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if n := <-shown; n == 0 {
				t.Error("no client certificate was shown to the attestation server")
			}
			if left, err := os.ReadDir(p.root); err != nil || len(left) > 0 {
				t.Errorf("before the commit the root has %v, %v", left, err)
			}
			if err := errors.Join(o.Commit(), o.Close()); err != nil || o.Version() != 7 {
				t.Fatalf("version %d: %v", o.Version(), err)
			}
			if text, err := os.ReadFile(filepath.Join(p.root, "etc/motd")); err != nil || string(text) != "hello" {
				t.Errorf("motd is %q, %v", text, err)
			}
		})
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock(dir); err == nil || !strings.Contains(err.Error(), "another") {
		t.Errorf("the second one: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

func TestReachable(t *testing.T) {
	address := []netstate.Address{{Source: netstate.Static}}
	for _, c := range []struct {
		s    netstate.State
		want bool
	}{
		{netstate.State{}, false},
		{netstate.State{Settled: true}, false},
		{netstate.State{Online: true}, true},
		{netstate.State{Links: []netstate.Link{{Addresses: address}}}, false},
		{netstate.State{Settled: true, Links: []netstate.Link{{}, {Addresses: address}}}, true},
	} {
		if got := reachable(c.s); got != c.want {
			t.Errorf("%+v: %v", c.s, got)
		}
	}
}
