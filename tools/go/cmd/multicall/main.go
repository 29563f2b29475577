// Command multicall prepares the build of one program out of several, each a package main of its own:
// the one that it is called by the name of runs. Together they carry Go's runtime, and what else they
// share, once.
//
//	multicall SOURCE OUT NAME=PACKAGE...
//
// SOURCE is a Go module with its dependencies in vendor/; a package that begins with ./ is in the module
// itself. OUT gets overlay.json, for `go build -overlay OUT/overlay.json ./multicall` in SOURCE, and what
// it names. There the packages are called program, have Main instead of main, and are as they were
// otherwise.
package main

import (
	"encoding/json"
	"fmt"
	"go/build"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: multicall SOURCE OUT NAME=PACKAGE...")
		os.Exit(2)
	}
	if err := prepare(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintf(os.Stderr, "multicall: %v\n", err)
		os.Exit(1)
	}
}

// prepare writes the overlay for programs, each NAME=PACKAGE.
func prepare(source, out string, programs []string) error {
	source, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	module, err := moduleName(filepath.Join(source, "go.mod"))
	if err != nil {
		return err
	}
	o := overlay{out: out, Replace: map[string]string{}}
	var imports, cases strings.Builder
	for i, program := range programs {
		name, pkg, ok := strings.Cut(program, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=PACKAGE", program)
		}
		dir := filepath.Join(source, "vendor", pkg)
		if inside, ok := strings.CutPrefix(pkg, "./"); ok {
			dir, pkg = filepath.Join(source, inside), module+"/"+inside
		}
		if err := o.importable(dir); err != nil {
			return fmt.Errorf("making %s importable: %w", pkg, err)
		}
		fmt.Fprintf(&imports, "\tprogram%d %q\n", i, pkg)
		fmt.Fprintf(&cases, "\tcase %q:\n\t\tprogram%d.Main()\n", name, i)
	}
	main := fmt.Sprintf(mainText, imports.String(), cases.String())
	if err := o.replace(filepath.Join(source, "multicall", "main.go"), []byte(main)); err != nil {
		return err
	}
	text, err := json.MarshalIndent(o, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "overlay.json"), text, 0o644)
}

const mainText = `package main

import (
	"os"
	"path/filepath"

%s)

func main() {
	switch name := filepath.Base(os.Args[0]); name {
%s	default:
		os.Stderr.WriteString(name + ": this file is several programs, none of which has this name\n")
		os.Exit(127)
	}
}
`

var moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)

func moduleName(goMod string) (string, error) {
	text, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	m := moduleLine.FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s names no module", goMod)
	}
	return string(m[1]), nil
}

// overlay is what go build's -overlay reads: files that take the place of others.
type overlay struct {
	Replace map[string]string
	out     string
}

func (o overlay) replace(path string, text []byte) error {
	file := filepath.Join(o.out, fmt.Sprintf("%d.go", len(o.Replace)))
	o.Replace[path] = file
	return os.WriteFile(file, text, 0o644)
}

var (
	packageMain = regexp.MustCompile(`(?m)^package main\b`)
	funcMain    = regexp.MustCompile(`(?m)^func main\(\)`)
)

// importable replaces the files of a package main.
func (o overlay) importable(dir string) error {
	pkg, err := build.ImportDir(dir, build.IgnoreVendor)
	if err != nil {
		return err
	}
	if pkg.Name != "main" {
		return fmt.Errorf("%s is a package %s, not a program", dir, pkg.Name)
	}
	for _, name := range append(pkg.GoFiles, pkg.IgnoredGoFiles...) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text = packageMain.ReplaceAll(text, []byte("package program"))
		if err := o.replace(path, funcMain.ReplaceAll(text, []byte("func Main()"))); err != nil {
			return err
		}
	}
	return nil
}
