package attest

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/os/cmdline"
)

func TestAnchors(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	image, line := client.Pin{1}, client.Pin{2}
	k1, k2, other := manifest.Key{1}, manifest.Key{2}, manifest.Key{3}
	system := x509.NewCertPool()
	params := cmdline.Attest{Pins: []string{line.String()}, OverlayKeys: []string{other.String()}}
	for name, c := range map[string]struct {
		files  map[string]string
		params cmdline.Attest
		roots  string // "system", "own" or ""
		pins   []client.Pin
		keys   []manifest.Key
		says   string // of the error
	}{
		"nothing":                {roots: "system"},
		"authorities":            {files: map[string]string{caFile: ca}, roots: "own"},
		"command line":           {params: params, pins: []client.Pin{line}, keys: []manifest.Key{other}},
		"image":                  {files: map[string]string{pinFile: "# ours\n\n" + image.String() + "\n", keysFile: k1.String() + "\n " + k2.String() + " "}, pins: []client.Pin{image}, keys: []manifest.Key{k1, k2}},
		"image and command line": {files: map[string]string{pinFile: image.String(), keysFile: k1.String()}, params: params, pins: []client.Pin{image}, keys: []manifest.Key{k1}},
		"empty files":            {files: map[string]string{pinFile: "", keysFile: "# none\n"}, params: params, roots: "system"},
		"pins and authorities":   {files: map[string]string{caFile: ca}, params: params, roots: "own", pins: []client.Pin{line}, keys: []manifest.Key{other}},
		"wrong pin":              {params: cmdline.Attest{Pins: []string{"x"}}, says: cmdline.AttestPinParam},
		"wrong pin in the image": {files: map[string]string{pinFile: "x"}, says: pinFile},
		"wrong key":              {params: cmdline.Attest{OverlayKeys: []string{"x"}}, says: cmdline.OverlayKeyParam},
		"wrong key in the image": {files: map[string]string{keysFile: "x"}, params: params, says: keysFile},
		"no certificate":         {files: map[string]string{caFile: "x"}, says: "no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			a, err := readAnchors(dir, c.params, func() (*x509.CertPool, error) { return system, nil })
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			roots := map[bool]string{true: "system"}[a.trust.Roots == system]
			if roots == "" && a.trust.Roots != nil {
				roots = "own"
			}
			if err != nil || roots != c.roots || !slices.Equal(a.trust.Pins, c.pins) || !slices.Equal(a.keys, c.keys) {
				t.Errorf("roots %q, pins %v, keys %v, %v", roots, a.trust.Pins, a.keys, err)
			}
		})
	}
	missing := errors.New("no bundle")
	if _, err := readAnchors(t.TempDir(), cmdline.Attest{}, func() (*x509.CertPool, error) { return nil, missing }); !errors.Is(err, missing) {
		t.Errorf("without any authorities: %v", err)
	}
	if _, err := readAnchors(filepath.Join(t.TempDir(), "a\x00b"), cmdline.Attest{}, nil); err == nil {
		t.Error("a folder that can not be read counts as empty")
	}
}
