package sbom

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
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

func facts(t testing.TB) Facts {
	t.Helper()
	sums := Sums{}
	if err := sums.Add([]byte(goSum)); err != nil {
		t.Fatal(err)
	}
	return Facts{sums, map[string]string{"std": "BSD-3-Clause", "golang.org/x/sys": "BSD-3-Clause", "github.com/BurntSushi/toml": "MIT",
		"github.com/BurntSushi/toml/v2": "MIT", "example.org/new": "ISC"}}
}

func program() *Program {
	return &Program{
		Imports: []string{"fmt", "vendor/golang.org/x/net/idna", "golang.org/x/sys/unix", "github.com/BurntSushi/toml/internal",
			"github.com/BurntSushi/toml/v2", "golang.org/x/sys/cpu", "example.org/old", "github.com/ember-os/ember/os/init"},
		GoMod: []byte(goMod), GoVersion: "1.26.8",
	}
}

func TestModules(t *testing.T) {
	got, err := program().Modules(facts(t))
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
	for want, change := range map[string]func(*Program, *Facts){
		"provides package": func(p *Program, _ *Facts) { p.Imports = append(p.Imports, "example.com/unknown") },
		"sum of module":    func(_ *Program, f *Facts) { f.Sums = Sums{} },
		"go.mod":           func(p *Program, _ *Facts) { p.GoMod = []byte("what") },
	} {
		p, f := program(), facts(t)
		change(p, &f)
		if _, err := p.Modules(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for _, text := range []string{"a b", "golang.org/x/sys v0.49.0 h1:xxx="} {
		if err := facts(t).Sums.Add([]byte(text)); err == nil || !strings.Contains(err.Error(), "reading go.sum") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// goProgram is no more of a program than what debug/buildinfo reads: an ELF file with a data segment.
func goProgram(version, modules string) []byte {
	text := func(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }
	data := append([]byte("\xff Go buildinf:\x08\x02"), make([]byte, 16)...)
	data = append(data, text(version)...)
	data = append(data, text(strings.Repeat("x", 16)+modules+strings.Repeat("x", 16))...)

	const header, segment, address = 64, 56, 0x400000
	var b bytes.Buffer
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	binary.Write(&b, binary.LittleEndian, elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64),
		Version: uint32(elf.EV_CURRENT), Phoff: header, Ehsize: header, Phentsize: segment, Phnum: 1, Shentsize: 64})
	binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W), Off: 128,
		Vaddr: address, Filesz: uint64(len(data)), Memsz: uint64(len(data)), Align: 16})
	b.Write(make([]byte, 128-b.Len()))
	b.Write(data)
	return b.Bytes()
}

// TestBuilt reads what go build wrote into a program.
func TestBuilt(t *testing.T) {
	f := bytes.NewReader(goProgram("go1.26.8", "path\texample.org/own/cmd\nmod\texample.org/own\t(devel)\t\n"+
		"dep\texample.org/own/part\tv0.0.0\n=>\t./part\t(devel)\t\ndep\texample.org/sys\tv1.0.0\n=>\tgolang.org/x/sys\tv0.49.0\t\n"))
	known := Facts{Sums{}, map[string]string{"std": "BSD-3-Clause", "golang.org/x/sys": "BSD-3-Clause"}}
	if _, err := Built(f, known); err == nil || !strings.Contains(err.Error(), "no go.sum has a sum of module golang.org/x/sys@v0.49.0") {
		t.Errorf("without a sum: %v", err)
	}
	if err := known.Sums.Add([]byte("golang.org/x/sys v0.49.0 h1:ccc=\n")); err != nil {
		t.Fatal(err)
	}
	got, err := Built(f, known)
	want := []Component{
		{Name: "std", Version: "1.26.8", License: "BSD-3-Clause", Source: "the Go standard library and runtime", PURL: "pkg:golang/std@1.26.8"},
		{Name: "golang.org/x/sys", Version: "v0.49.0", License: "BSD-3-Clause", Source: "Go module, go.sum h1:ccc=", PURL: "pkg:golang/golang.org/x/sys@v0.49.0"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, %v; want\n%+v", got, err, want)
	}
	published := goProgram("go1.26.8", "path\tgolang.org/x/sys/cmd\nmod\tgolang.org/x/sys\tv0.49.0\t\n")
	if got, err := Built(bytes.NewReader(published), known); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("a program of a published module: got\n%+v, %v; want\n%+v", got, err, want)
	}
	if got, err := Built(strings.NewReader("#!/bin/sh\n"), known); got != nil || err != nil {
		t.Errorf("a script: %v, %v", got, err)
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
	if err := d.AddPackages(packages(), Origins{Own: "ember"}); err != nil {
		t.Fatal(err)
	}
	modules, err := program().Modules(facts(t))
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

func TestDebian(t *testing.T) {
	lock := []byte(`suite trixie
package grub
deb grub-common 2.12-9 debian pool/main/g/grub2/grub-common_2.12-9_amd64.deb 1 aa
deb grub 1:2.12-9+deb13u2 debian-security pool/main/g/grub2/grub_2.12-9%2bdeb13u2_all.deb 2 bb
`)
	want := Component{Name: "grub", Version: "1:2.12-9+deb13u2", License: "GPL-3.0-or-later", Source: "Debian package with the SHA-256 bb",
		PURL: "pkg:deb/debian/grub@1:2.12-9%2Bdeb13u2?arch=all"}
	if got, err := Debian(lock, "grub", "GPL-3.0-or-later"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := Debian(lock, "trixie", ""); err == nil {
		t.Error("there is a package that the lock has not")
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

func TestOrigins(t *testing.T) {
	o := Origins{
		Own:    "ember",
		Public: map[string]string{"jq": "https://apk.example.org/os/x86_64/jq-1.7-r0.apk", "curl": "https://other.example/x86_64/curl-8-r0.apk", "local": ""},
		Known:  map[string]string{"https://apk.example.org/": "wrong", "https://apk.example.org/os": "exampleos"},
	}
	for name, want := range map[string]string{
		"local":   "pkg:apk/ember/local@1-r0?arch=x86_64",
		"unknown": "pkg:apk/ember/unknown@1-r0?arch=x86_64",
		"jq":      "pkg:apk/exampleos/jq@1-r0?arch=x86_64&repository_url=https:%2F%2Fapk.example.org%2Fos",
		"curl":    "pkg:apk/curl@1-r0?arch=x86_64&repository_url=https:%2F%2Fother.example",
	} {
		if got := o.packageURL(apk.Installed{Info: apk.Info{Name: name, Version: "1-r0", Arch: "x86_64"}}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestShared has a module in two packages: once in the document, with two relationships.
func TestShared(t *testing.T) {
	d := full(t)
	modules, err := program().Modules(facts(t))
	if err != nil {
		t.Fatal(err)
	}
	packages, relationships := len(d.doc.Packages), len(d.doc.Relationships)
	if err := d.AddModules("busybox", modules); err != nil {
		t.Fatal(err)
	}
	if p, r := len(d.doc.Packages)-packages, len(d.doc.Relationships)-relationships; p != 0 || r != len(modules) {
		t.Errorf("%d more packages and %d relationships", p, r)
	}
}

func TestAddRefuses(t *testing.T) {
	d := full(t)
	if err := d.AddPackages(packages(), Origins{Own: "ember"}); err != nil {
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
