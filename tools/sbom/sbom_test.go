package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/ember-os/ember/tools/apk"
)

const goMod = `module github.com/ember-os/ember

go 1.26.0

require (
	github.com/BurntSushi/toml v1.2.0
	github.com/BurntSushi/toml/v2 v2.0.0+incompatible
	golang.org/x/sys v0.49.0 // indirect
	example.org/unused v1.0.0
	example.org/old v1.0.0
)

replace example.org/old => example.org/new v1.1.0
`

const goSum = `github.com/BurntSushi/toml v1.2.0 h1:aaa=
github.com/BurntSushi/toml v1.2.0/go.mod h1:xxx=
github.com/BurntSushi/toml/v2 v2.0.0+incompatible h1:bbb=
golang.org/x/sys v0.49.0 h1:ccc=
example.org/new v1.1.0 h1:ddd=
`

func program() *Program {
	return &Program{
		Imports: []string{"fmt", "vendor/golang.org/x/net/idna", "golang.org/x/sys/unix", "github.com/BurntSushi/toml/internal",
			"github.com/BurntSushi/toml/v2", "golang.org/x/sys/cpu", "example.org/old", "github.com/ember-os/ember/os/init"},
		GoMod: []byte(goMod), GoSum: []byte(goSum), GoVersion: "1.26.8",
		Licences: map[string]string{"std": "BSD-3-Clause", "golang.org/x/sys": "BSD-3-Clause", "github.com/BurntSushi/toml": "MIT",
			"github.com/BurntSushi/toml/v2": "MIT", "example.org/new": "ISC"},
	}
}

func TestModules(t *testing.T) {
	got, err := program().Modules()
	if err != nil {
		t.Fatal(err)
	}
	want := []Component{
		{Name: "std", Version: "1.26.8", License: "BSD-3-Clause", Source: "the Go standard library and runtime", PURL: "pkg:golang/std@1.26.8"},
		{Name: "example.org/new", Version: "v1.1.0", License: "ISC", Source: "Go module, go.sum h1:ddd=", PURL: "pkg:golang/example.org/new@v1.1.0"},
		{Name: "github.com/BurntSushi/toml", Version: "v1.2.0", License: "MIT", Source: "Go module, go.sum h1:aaa=", PURL: "pkg:golang/github.com/burntsushi/toml@v1.2.0"},
		{Name: "github.com/BurntSushi/toml/v2", Version: "v2.0.0+incompatible", License: "MIT", Source: "Go module, go.sum h1:bbb=", PURL: "pkg:golang/github.com/burntsushi/toml/v2@v2.0.0%2Bincompatible"},
		{Name: "golang.org/x/sys", Version: "v0.49.0", License: "BSD-3-Clause", Source: "Go module, go.sum h1:ccc=", PURL: "pkg:golang/golang.org/x/sys@v0.49.0"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	for name, change := range map[string]func(*Program){
		"provides package": func(p *Program) { p.Imports = append(p.Imports, "example.com/unknown") },
		"no sum":           func(p *Program) { p.GoSum = []byte(strings.Replace(goSum, "/sys", "/sus", 1)) },
		"reading go.sum":   func(p *Program) { p.GoSum = []byte("a b") },
		"go.mod":           func(p *Program) { p.GoMod = []byte("what") },
	} {
		p := program()
		change(p)
		if _, err := p.Modules(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func document(t testing.TB) *Document {
	t.Helper()
	data, err := os.ReadFile("testdata/apko.spdx.json") // written by apko 1.2.30
	if err != nil {
		t.Fatal(err)
	}
	d, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func packages() []apk.Installed {
	return []apk.Installed{
		{Info: apk.Info{Name: "busybox", Version: "1.35.0-r0", Arch: "x86_64", License: "GPL-2.0-only", URL: "https://example.com"}},
		{Info: apk.Info{Name: "ember", Version: "0.1.0-r0", Arch: "x86_64", License: "Apache-2.0"}},
	}
}

func full(t testing.TB) *Document {
	t.Helper()
	d := document(t)
	if err := d.AddPackages(packages(), "ember"); err != nil {
		t.Fatal(err)
	}
	modules, err := program().Modules()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddModules("ember", modules); err != nil {
		t.Fatal(err)
	}
	err = d.AddComponent(Component{Name: "linux", Version: "6.12.1", License: "GPL-2.0-only WITH Linux-syscall-note",
		PURL: "pkg:deb/debian/linux@6.12.1-1?arch=source"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestGolden(t *testing.T) {
	got, err := full(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/full.spdx.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s", got)
	}
	again, err := full(t).Encode()
	if err != nil || !bytes.Equal(got, again) {
		t.Errorf("a second document differs: %v", err)
	}
	if _, err := Parse(got); err != nil {
		t.Errorf("the document cannot be read again: %v", err)
	}
}

// The rules of SPDX 2.3 that a program can get wrong.
func TestValid(t *testing.T) {
	data, err := full(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		DocumentNamespace string
		Packages          []struct{ SPDXID, Name, DownloadLocation string }
		Relationships     []struct{ SPDXElementID, RelationshipType, RelatedSPDXElement string }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(doc.DocumentNamespace, "#") || !strings.HasPrefix(doc.DocumentNamespace, namespace) {
		t.Errorf("namespace %q", doc.DocumentNamespace)
	}
	ids := map[string]bool{"SPDXRef-DOCUMENT": true}
	id := regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	for _, p := range doc.Packages {
		if !id.MatchString(p.SPDXID) || ids[p.SPDXID] || p.DownloadLocation == "" {
			t.Errorf("bad package %+v", p)
		}
		ids[p.SPDXID] = true
	}
	related := map[string]bool{}
	for _, r := range doc.Relationships {
		if !ids[r.SPDXElementID] || !ids[r.RelatedSPDXElement] {
			t.Errorf("a relationship of nothing: %+v", r)
		}
		related[r.RelationshipType+" "+r.RelatedSPDXElement] = true
	}
	for _, want := range []string{
		"CONTAINS SPDXRef-Package-apk-busybox-1.35.0-r0",
		"STATIC_LINK SPDXRef-Package-go-golang.org-x-sys-v0.49.0",
		"DESCRIBES SPDXRef-Package-component-linux-6.12.1",
	} {
		if !related[want] {
			t.Errorf("no relationship %s", want)
		}
	}
}

func TestCheckLicences(t *testing.T) {
	if err := full(t).CheckLicences(); err != nil {
		t.Errorf("all licences are there: %v", err)
	}
	d := document(t)
	for name, licence := range map[string]string{"one": "", "two": "NOASSERTION", "three": "MIT"} {
		if err := d.AddComponent(Component{Name: name, Version: "1", License: licence}); err != nil {
			t.Fatal(err)
		}
	}
	err := d.CheckLicences()
	if err == nil || !strings.Contains(err.Error(), "one 1") || !strings.Contains(err.Error(), "two 1") || strings.Contains(err.Error(), "three") {
		t.Errorf("missing licences: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	d := full(t)
	if err := d.AddPackages(packages(), "ember"); err != nil {
		t.Errorf("packages that are there already: %v", err)
	}
	if err := d.AddModules("nothing", nil); err == nil {
		t.Error("modules were added to a package that is not there")
	}
	for _, c := range []Component{{Name: "linux", Version: "6.12.1"}, {Name: "x"}, {Version: "1"}, {Name: "y", Version: "1", PURL: "nonsense"}} {
		if err := d.AddComponent(c); err == nil {
			t.Errorf("%+v was added", c)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "{}", `{"spdxVersion":"SPDX-2.2"}`, `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT","creationInfo":{}}`} {
		if _, err := Parse([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestParseLicences(t *testing.T) {
	got, err := ParseLicences("# table\n\na.b/c  MIT OR ISC\nstd BSD-3-Clause\n")
	if want := map[string]string{"a.b/c": "MIT OR ISC", "std": "BSD-3-Clause"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"a.b/c", "a MIT\na ISC"} {
		if _, err := ParseLicences(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile("testdata/apko.spdx.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		if _, err := d.Encode(); err != nil {
			t.Error(err)
		}
	})
}
