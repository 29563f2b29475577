package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
)

func TestSealAndInspect(t *testing.T) {
	dir, s := workplace(t)
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, []byte("initrd"), 0o644); err != nil {
		t.Fatal(err)
	}
	node := strings.Repeat("a", 64)
	s.nodes, s.expires, s.initrd = node+","+strings.Repeat("0", 64)+","+node, "30d", initrd
	sealed(t, dir, s)
	folder := filepath.Join(dir, "rack")
	look := inspection{trust: []string{dir + "/overlay.keys"}, identity: dir + "/attestd.identity"}
	r, err := look.inspect(folder)
	if err != nil {
		t.Fatal(err)
	}
	want := manifest.Digest(sha256.Sum256([]byte("initrd")))
	if !r.Trusted || r.Checked != "contents" || r.Version != 1 || len(r.Nodes) != 2 || r.Initrd != want ||
		r.Created != now.Truncate(time.Second) || r.Expires != r.Created.AddDate(0, 0, 30) {
		t.Errorf("it is %+v, %+v", r, r.Manifest)
	}
	content := []entry{{"etc", "drwxr-xr-x", 0, 0, 0, ""}, {"etc/issue", "lrwxrwxrwx", 0, 0, 0, "motd"}, {"etc/motd", "-rw-r--r--", 0, 0, 5, ""}}
	if !reflect.DeepEqual(r.Content, content) {
		t.Errorf("it holds %+v", r.Content)
	}
	var text bytes.Buffer
	if err := look.print(&text, r); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"version     1\n", "by a key that you trust", "  etc/issue -> motd\n", "3 entries", want.String()} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("it does not print %q:\n%s", line, &text)
		}
	}
	text.Reset()
	look.json = true
	if err := look.print(&text, r); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(text.Bytes(), &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("its JSON is read as %+v, %v", back, err)
	}
}

func TestInspectLess(t *testing.T) {
	dir, s := workplace(t)
	sealed(t, dir, s)
	r, err := (&inspection{}).inspect(dir + "/rack")
	if err != nil || r.Trusted || r.Checked != "digest" || r.Content != nil {
		t.Errorf("without keys it is %+v, %v", r, err)
	}
	r, err = (&inspection{}).inspect(dir + "/rack/manifest")
	if err != nil || r.Checked != "" {
		t.Errorf("the manifest alone is %+v, %v", r, err)
	}
}

func TestInspectFinds(t *testing.T) {
	other := t.TempDir()
	if err := keygen(io.Discard, other, ""); err != nil {
		t.Fatal(err)
	}
	change := func(path string) func(string) error {
		return func(dir string) error {
			b, err := os.ReadFile(dir + path)
			if err == nil {
				b[len(b)-20] ^= 1
				err = os.WriteFile(dir+path, b, 0o644)
			}
			return err
		}
	}
	for name, test := range map[string]struct {
		damage func(dir string) error
		look   inspection
	}{
		"wrong signer":                  {look: inspection{trust: []string{other + "/overlay.keys"}}},
		"wrong server":                  {look: inspection{identity: other + "/attestd.identity"}},
		"no such key":                   {look: inspection{trust: []string{"ed25519:short"}}},
		"changed ciphertext":            {damage: change("/rack/overlay.age")},
		"changed ciphertext, read":      {damage: change("/rack/overlay.age"), look: inspection{identity: "attestd.identity"}},
		"missing ciphertext to be read": {damage: func(dir string) error { return os.Remove(dir + "/rack/overlay.age") }, look: inspection{identity: "attestd.identity"}},
		"missing manifest":              {damage: func(dir string) error { return os.Remove(dir + "/rack/manifest") }},
		"missing overlay":               {damage: func(dir string) error { return os.RemoveAll(dir + "/rack") }},
	} {
		t.Run(name, func(t *testing.T) {
			dir, s := workplace(t)
			sealed(t, dir, s)
			if test.damage != nil {
				if err := test.damage(dir); err != nil {
					t.Fatal(err)
				}
			}
			if test.look.identity == "attestd.identity" {
				test.look.identity = dir + "/attestd.identity"
			}
			if r, err := test.look.inspect(dir + "/rack"); err == nil {
				t.Errorf("it finds %+v", r)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	dir, s := workplace(t)
	version := func() uint64 {
		t.Helper()
		r, err := (&inspection{identity: dir + "/attestd.identity"}).inspect(dir + "/rack")
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	for _, want := range []uint64{1, 2, 3} {
		if sealed(t, dir, s); version() != want {
			t.Errorf("the version is %d, not %d", version(), want)
		}
	}
	s.version = 20261121
	if sealed(t, dir, s); version() != s.version {
		t.Errorf("the version is %d", version())
	}
	for _, v := range []uint64{4, 20261121} {
		s.version = v
		if err := s.run(t.Context(), io.Discard, dir+"/tree", now); err == nil || !strings.Contains(err.Error(), "only go up") {
			t.Errorf("version %d: %v", v, err)
		}
	}
	// What fails leaves what there is.
	s.version = 0
	if err := os.WriteFile(dir+"/tree/README", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context(), io.Discard, dir+"/tree", now); err == nil {
		t.Error("a file outside is sealed")
	}
	if version() != 20261121 {
		t.Errorf("the version is %d", version())
	}
	if left, err := filepath.Glob(dir + "/.rack*"); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestSealTarWithURL(t *testing.T) {
	dir, s := workplace(t)
	s.address = "https://files.example/rack.age"
	f, err := os.Create(dir + "/files.tar")
	if err != nil {
		t.Fatal(err)
	}
	w := archive.NewWriter(f)
	if err := errors.Join(w.Add(archive.Entry{Path: "etc/mine", Mode: 0o600, UID: 1000}, strings.NewReader("")), w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context(), io.Discard, f.Name(), now); err != nil {
		t.Fatal(err)
	}
	r, err := (&inspection{identity: dir + "/attestd.identity"}).inspect(dir + "/rack")
	if err != nil || r.URL != s.address || len(r.Content) != 1 || r.Content[0].UID != 1000 {
		t.Errorf("it is %+v, %v", r, err)
	}
	whole, err := os.ReadFile(dir + "/rack/" + seal.CiphertextFile)
	if err != nil {
		t.Fatal(err)
	}
	head, err := os.ReadFile(dir + "/rack/" + seal.HeaderFile)
	if err != nil || !bytes.Equal(head, whole[:min(len(whole), seal.HeaderSize)]) {
		t.Errorf("the header is not the beginning of the ciphertext, %v", err)
	}
}

func TestSealRefuses(t *testing.T) {
	dir, good := workplace(t)
	for name, change := range map[string]func(*sealing){
		"recipient that is none":  func(s *sealing) { s.recipients = []string{"age1nothing"} },
		"secret as a recipient":   func(s *sealing) { s.recipients = []string{dir + "/attestd.identity"} },
		"no recipient":            func(s *sealing) { s.recipients = nil },
		"key that is none":        func(s *sealing) { s.key = dir + "/overlay.keys" },
		"key that is not there":   func(s *sealing) { s.key = dir + "/none" },
		"node that is none":       func(s *sealing) { s.nodes = "rack-1" },
		"time that is none":       func(s *sealing) { s.expires = "soon" },
		"time that is over":       func(s *sealing) { s.expires = "2020-01-01" },
		"kernel that is not here": func(s *sealing) { s.kernel = dir + "/none" },
		"kernel that is none":     func(s *sealing) { s.kernel = dir + "/signing.key" },
		"initrd that is not here": func(s *sealing) { s.initrd = dir + "/none" },
		"address without a host":  func(s *sealing) { s.address = "files/rack.age" },
		"output that is a file":   func(s *sealing) { s.out = dir + "/signing.key" },
	} {
		s := good
		change(&s)
		if err := s.run(t.Context(), io.Discard, dir+"/tree", now); err == nil {
			t.Errorf("%s: it is sealed", name)
		} else if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%s: the error tells a secret", name)
		}
	}
	if _, err := os.Stat(dir + "/rack"); err == nil {
		t.Error("there is an overlay")
	}
}

func TestExpiry(t *testing.T) {
	start := now.Truncate(time.Second)
	for text, want := range map[string]time.Time{
		"2027-01-31": time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), "2027-01-31T12:00:00+02:00": time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC),
		"30d": start.AddDate(0, 0, 30), "90m": start.Add(90 * time.Minute), "1500ms": start.Add(time.Second),
	} {
		if got, err := expiry(text, start); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "d", "-1d", "1y", "99999999d", "2027-02-30"} {
		if got, err := expiry(bad, start); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

// TestSealedFileIsAge makes sure that age itself opens it.
func TestSealedFileIsAge(t *testing.T) {
	dir, s := workplace(t)
	sealed(t, dir, s)
	text, err := os.Open(dir + "/attestd.identity")
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	identities, err := age.ParseIdentities(text)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir + "/rack/overlay.age")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := age.Decrypt(f, identities...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error(err)
	}
}
