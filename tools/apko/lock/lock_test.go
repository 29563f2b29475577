package lock

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/ember-os/ember/tools/apk"
)

const config = `# What it holds.
contents:
  repositories: ["https://example.com/os", "@edge https://example.com/edge"]
  build_repositories:
    - https://example.com/build
  keyring: [https://example.com/key.rsa.pub]
  packages:
    - ours # from here
    - theirs@edge
    - other>=1.2@edge
paths:
  - path: /var/tmp
    type: directory
    permissions: 0o1777
archs: [x86_64]
cmd: "no"
`

const offline = `# What it holds.
contents:
  packages:
  - ours # from here
  - theirs
  - other>=1.2
paths:
- path: /var/tmp
  type: directory
  permissions: 0o1777
archs: [x86_64]
cmd: "no"
`

func TestOffline(t *testing.T) {
	got, err := Offline([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != offline {
		t.Errorf("got\n%s\nwant\n%s", got, offline)
	}
	for _, bad := range []string{"", "[]", "a: b", "contents: {", "- contents: {}", "a: &a {}\ncontents: *a"} {
		if got, err := Offline([]byte(bad)); err == nil {
			t.Errorf("%q became %q", bad, got)
		}
	}
}

func FuzzOffline(f *testing.F) {
	f.Add([]byte(config))
	f.Add([]byte("contents:\n  repositories: 0\n  repositories:\n"))
	f.Fuzz(func(t *testing.T, config []byte) {
		got, err := Offline(config)
		if err != nil {
			return
		}
		var c struct{ Contents map[string]any }
		if err := yaml.Load(got, &c); err != nil || bytes.Contains(config, []byte("<<")) {
			return // no configuration before either, or one that merges another, with which apko fails
		}
		for _, key := range []string{"repositories", "build_repositories", "keyring"} {
			if v, ok := c.Contents[key]; ok {
				t.Errorf("%q has %s %v", got, key, v)
			}
		}
	})
}

func TestCheckConfig(t *testing.T) {
	sum, err := Checksum([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	l := Lock{Config: Config{Name: "apko.yaml", Checksum: sum}}
	for edit, stale := range map[[2]string]bool{
		{"", ""}:                    false,
		{"# What it holds.", "# X"}: false,
		{"/var/tmp", "/srv"}:        false,
		{"- ours", "- mine"}:        true,
		{"/os", "/other"}:           true,
		{"key.rsa", "new.rsa"}:      true,
		{"x86_64", "aarch64"}:       true,
	} {
		err := l.CheckConfig([]byte(strings.Replace(config, edit[0], edit[1], 1)))
		if errors.Is(err, ErrStale) != stale || !stale && err != nil {
			t.Errorf("%q: %v", edit, err)
		}
	}
	if err := l.CheckConfig([]byte("contents: 1")); err == nil || errors.Is(err, ErrStale) {
		t.Errorf("what is no configuration gave %v", err)
	}
}

func sample() *Lock {
	return &Lock{
		Version: version,
		Config:  Config{Name: "image/apko.yaml", Checksum: "sha256-AAAA"},
		Contents: Contents{
			Keyring: []Key{{Name: "example.com/key.rsa.pub", URL: "https://example.com/key.rsa.pub", Content: "PEM\n"}},
			Packages: []Package{
				{Name: "ours", Version: "1-r0", Architecture: "x86_64"},
				{Name: "theirs", Version: "2-r1", Architecture: "x86_64", URL: "https://example.com/os/x86_64/theirs-2-r1.apk",
					Checksum: "Q1AAAA", SHA256: strings.Repeat("0123456789abcdef", 4)},
			},
		},
	}
}

func TestEncode(t *testing.T) {
	want, err := os.ReadFile("testdata/sample.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := sample().Encode()
	if err != nil || string(got) != string(want) {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	back, err := Parse(want)
	if err != nil || !reflect.DeepEqual(back, sample()) {
		t.Errorf("Parse gave %+v, %v", back, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*Lock){
		"version":    func(l *Lock) { l.Version = "v2" },
		"no name":    func(l *Lock) { l.Contents.Packages[0].Name = "" },
		"no version": func(l *Lock) { l.Contents.Packages[1].Version = "" },
		"no sha256":  func(l *Lock) { l.Contents.Packages[1].SHA256 = "" },
		"short":      func(l *Lock) { l.Contents.Packages[1].SHA256 = "00" },
	} {
		l := sample()
		spoil(l)
		data, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(data); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got, err := Parse([]byte("<<<<<<< ours")); err == nil {
		t.Errorf("what is no JSON: %+v", got)
	}
}

func TestChanges(t *testing.T) {
	before, after := sample(), sample()
	if got := Changes(before, after); got != nil {
		t.Errorf("nothing changed, and yet %q", got)
	}
	after.Contents.Keyring[0].Content = "another"
	after.Contents.Packages[1].SHA256 = strings.Repeat("f", 64)
	after.Contents.Packages = append(after.Contents.Packages[1:], Package{Name: "new", Version: "3-r0"})
	want := []string{
		"~ key example.com/key.rsa.pub sha256:a0278171ab77 -> sha256:ae448ac86c4e",
		"+ new 3-r0",
		"- ours 1-r0",
		"~ theirs 2-r1 sha256:0123456789ab -> 2-r1 sha256:ffffffffffff",
	}
	if got := Changes(before, after); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCheck(t *testing.T) {
	ours, theirs := apk.Installed{}, apk.Installed{}
	ours.Name, ours.Version = "ours", "1-r0"
	theirs.Name, theirs.Version = "theirs", "2-r1"
	if err := sample().Check([]apk.Installed{theirs, ours}); err != nil {
		t.Error(err)
	}
	if err := sample().Check([]apk.Installed{ours}); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "- theirs 2-r1") {
		t.Errorf("a package is missing: %v", err)
	}
	ours.Version = "1-r1"
	if err := sample().Check([]apk.Installed{ours, theirs}); !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), "~ ours 1-r0 -> 1-r1") {
		t.Errorf("a package has another version: %v", err)
	}
}
