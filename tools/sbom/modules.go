package sbom

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// Facts is what is known of Go modules.
type Facts struct {
	Sums     Sums
	Licences map[string]string // module path to SPDX expression; the standard library is "std"
}

// Sums is the hashes of modules.
type Sums map[module.Version]string

// Program is what says which Go modules are in a program.
type Program struct {
	Imports   []string // import paths of all packages linked in
	GoMod     []byte   // of the main module
	GoVersion string   // of the standard library: "1.26.8"
}

// Modules lists the modules of which packages are linked into the program,
// sorted by path, and the standard library. The main module is not among them.
// An import path of no module and a module without a sum are errors; one without
// a licence has an empty one.
func (p *Program) Modules(facts Facts) ([]Component, error) {
	mod, err := modfile.Parse("go.mod", p.GoMod, nil)
	if err != nil {
		return nil, err
	}
	used := map[module.Version]bool{}
	for _, path := range p.Imports {
		if isStd(path) || within(path, mod.Module.Mod.Path) {
			continue
		}
		m, ok := moduleOf(mod, path)
		if !ok {
			return nil, fmt.Errorf("no module in go.mod provides package %s", path)
		}
		used[m] = true
	}
	built := map[module.Version]bool{}
	for m := range used {
		built[replaced(mod, m)] = true
	}
	return facts.components(p.GoVersion, slices.Collect(maps.Keys(built)))
}

// Built lists the modules that a Go program says it was built of, as Modules does. It
// gives nothing for another file, and for a program that does not say so.
func Built(program io.ReaderAt, facts Facts) ([]Component, error) {
	info, err := buildinfo.Read(program)
	if err != nil || info.Main.Path == "" {
		return nil, nil
	}
	var modules []module.Version
	if m := info.Main; m.Version != "(devel)" { // else it is of this repository
		modules = append(modules, module.Version{Path: m.Path, Version: m.Version})
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if !modfile.IsDirectoryPath(m.Path) { // which is part of the main module
			modules = append(modules, module.Version{Path: m.Path, Version: m.Version})
		}
	}
	return facts.components(strings.TrimPrefix(info.GoVersion, "go"), modules)
}

// components has the standard library first.
func (f Facts) components(goVersion string, modules []module.Version) ([]Component, error) {
	components := []Component{{
		Name: "std", Version: goVersion, License: f.Licences["std"],
		Source: "the Go standard library and runtime",
		PURL:   packageURL("std", goVersion),
	}}
	slices.SortFunc(modules, func(a, b module.Version) int { return strings.Compare(a.Path, b.Path) })
	for _, m := range modules {
		sum, ok := f.Sums[m]
		if !ok {
			return nil, fmt.Errorf("no go.sum has a sum of module %s", m)
		}
		components = append(components, Component{
			Name: m.Path, Version: m.Version, License: f.Licences[m.Path],
			Source: "Go module, go.sum " + sum,
			PURL:   packageURL(m.Path, m.Version),
		})
	}
	return components, nil
}

// isStd says whether an import path is of the standard library: its first
// element has no dot.
func isStd(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

func within(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func moduleOf(mod *modfile.File, path string) (module.Version, bool) {
	var found module.Version
	for _, r := range mod.Require {
		if within(path, r.Mod.Path) && len(r.Mod.Path) > len(found.Path) {
			found = r.Mod
		}
	}
	return found, found.Path != ""
}

// replaced gives the module that is built instead of m, which may be itself.
func replaced(mod *modfile.File, m module.Version) module.Version {
	for _, r := range mod.Replace {
		if r.Old.Path == m.Path && (r.Old.Version == "" || r.Old.Version == m.Version) {
			return r.New
		}
	}
	return m
}

// Add adds the sums of module contents, not of go.mod files, of a go.sum.
func (s Sums) Add(text []byte) error {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) != 3 {
			return fmt.Errorf("reading go.sum: %q is not module, version, sum", lines.Text())
		}
		m := module.Version{Path: words[0], Version: words[1]}
		if old := s[m]; old != "" && old != words[2] {
			return fmt.Errorf("reading go.sum: module %s has two sums", m)
		}
		if !strings.HasSuffix(words[1], "/go.mod") {
			s[m] = words[2]
		}
	}
	return nil
}

// packageURL names a module; the specification wants it in lower case.
func packageURL(path, version string) string {
	namespace, name := "", strings.ToLower(path)
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		namespace, name = name[:i], name[i+1:]
	}
	return packageurl.NewPackageURL(packageurl.TypeGolang, namespace, name, version, nil, "").ToString()
}

// ParseLicences reads a table of licences: on each line a module path and an
// SPDX expression; empty lines and those that begin with # are passed over.
func ParseLicences(text string) (map[string]string, error) {
	licences := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		path, licence, ok := strings.Cut(line, " ")
		if !ok || licences[path] != "" {
			return nil, fmt.Errorf("reading licences: %q has no licence, or is a second line for its module", line)
		}
		licences[path] = strings.TrimSpace(licence)
	}
	return licences, nil
}
