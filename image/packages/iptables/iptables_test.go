// Package iptables_test runs iptables and nft with the libraries of the image.
package iptables_test

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/initrd/tree"
)

const libraries = "usr/lib/x86_64-linux-gnu"

func load(t *testing.T) *tree.Tree {
	t.Helper()
	dir := vmtest.File(t, "IMAGE")
	files, err := initrd.Load(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestLibraries fails if a program or library of the image needs one that is not there.
func TestLibraries(t *testing.T) {
	files := load(t)
	count := 0
	for _, e := range files.Entries() {
		if !e.IsRegular() || !bytes.HasPrefix(e.Data, []byte(elf.ELFMAG)) {
			continue
		}
		f, err := elf.NewFile(bytes.NewReader(e.Data))
		if err != nil {
			t.Errorf("%s: %v", e.Path, err)
			continue
		}
		needed, err := f.ImportedLibraries()
		if err != nil {
			t.Errorf("%s: %v", e.Path, err)
		}
		for _, library := range needed {
			count++
			if _, ok := files.Resolve(path.Join(libraries, library)); !ok {
				t.Errorf("%s needs %s", e.Path, library)
			}
		}
	}
	if count == 0 {
		t.Error("nothing needs a library")
	}
}

// root writes the libraries and the programs of iptables and nft to a directory.
func root(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, e := range load(t).Entries() {
		if !strings.HasPrefix(e.Path, libraries+"/") && !strings.HasPrefix(e.Path, "usr/sbin/") {
			continue
		}
		file := filepath.Join(dir, e.Path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case e.IsRegular():
			err = os.WriteFile(file, e.Data, 0o755)
		case !e.IsDir():
			err = os.Symlink(e.Target, file)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a program of the image by the image's own loader.
func run(t *testing.T, root, name string, args ...string) (string, error) {
	t.Helper()
	lib := filepath.Join(root, libraries)
	args = append([]string{"--library-path", lib, "--argv0", name, filepath.Join(root, "usr/sbin", name)}, args...)
	command := exec.CommandContext(t.Context(), filepath.Join(lib, "ld-linux-x86-64.so.2"), args...)
	command.Env = []string{"XTABLES_LIBDIR=" + filepath.Join(lib, "xtables")}
	out, err := command.CombinedOutput()
	return string(out), err
}

func TestVersions(t *testing.T) {
	dir := root(t)
	for _, test := range []struct{ name, flag, want string }{
		{"iptables", "-V", "(nf_tables)"},
		{"ip6tables", "-V", "(nf_tables)"},
		{"iptables-save", "-V", "(nf_tables)"},
		{"iptables-restore", "-V", "(nf_tables)"},
		{"iptables-nft", "-V", "(nf_tables)"},
		{"nft", "-v", "nftables v"},
	} {
		if out, err := run(t, dir, test.name, test.flag); err != nil || !strings.Contains(out, test.want) {
			t.Errorf("%s %s: %q, %v", test.name, test.flag, out, err)
		}
	}
}

// TestExtensions loads what CNI plugins, nerdctl and kube-proxy use in their rules.
func TestExtensions(t *testing.T) {
	dir := root(t)
	for _, match := range []string{"addrtype", "comment", "conntrack", "mark", "multiport", "physdev", "recent", "statistic", "tcp", "udp"} {
		if out, err := run(t, dir, "iptables", "-m", match, "-h"); err != nil {
			t.Errorf("match %s: %v, %q", match, err, tail(out))
		}
	}
	for _, target := range []string{"CT", "DNAT", "MARK", "MASQUERADE", "REDIRECT", "REJECT", "SNAT"} {
		if out, err := run(t, dir, "iptables", "-j", target, "-h"); err != nil {
			t.Errorf("target %s: %v, %q", target, err, tail(out))
		}
	}
}

func tail(s string) string { return s[max(0, len(s)-200):] }
