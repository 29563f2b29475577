package kernel_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// workspace is one for the Bazel of ./bazelw's private root, which needs no network there. It has the kernel's rules,
// what they load, and a kernel's tree beside it.
type workspace struct {
	*testing.T
	dir, out, tree string
}

// copied are the files of Ember that are in the workspace, made the others; the compiler's root is Ember's.
var (
	copied = []string{
		"kernel/kernel.bzl", "kernel/source.bzl", "tools/debian/debian.bzl", "tools/debian/debian.sh", "tools/debian/linux.lock", "tools/toolroot/toolroot.bzl",
	}
	made = map[string]string{
		"MODULE.bazel": `
linux = use_extension("//kernel:source.bzl", "linux")
linux.source(
    name = "linux_source",
    lock = "//tools/debian:linux.lock",
    patches = ["//kernel:driver.patch"],
)
use_repo(linux, "linux_source")

local_repository = use_repo_rule("@bazel_tools//tools/build_defs/repo:local.bzl", "local_repository")
local_repository(name = "compiler_root", path = "COMPILER")
`,
		"kernel/BUILD.bazel": `
load(":kernel.bzl", "kernel_config", "kernel_image")
kernel_config(name = "config", fragment = "fragment.config")
kernel_image(name = "kernel", config = "config")
`,
		"kernel/driver.patch": `--- a/driver.c
+++ b/driver.c
@@ -1 +1 @@
-as it is
+patched
`,
		"kernel/fragment.config":           "CONFIG_A=y\n",
		"tools/debian/BUILD.bazel":         "",
		"tools/toolroot/BUILD.bazel":       "",
		"tools/toolroot/enter/BUILD.bazel": `filegroup(name = "enter", srcs = ["program"], visibility = ["//visibility:public"])`,
	}
)

func newWorkspace(t *testing.T, tree map[string]string) *workspace {
	t.Helper()
	compiler, err := filepath.EvalSymlinks(vmtest.File(t, "COMPILER"))
	if err != nil {
		t.Fatal(err)
	}
	settings := read(t, "../tools/bazelw/modules.bazelrc")
	base := regexp.MustCompile(`(?m)^startup --install_base=(.*)$`).FindStringSubmatch(settings)
	if base == nil {
		t.Fatalf("the settings do not say where Bazel is:\n%s", settings)
	}
	if _, err := os.Stat(base[1]); err != nil {
		t.Skipf("this is not the private root of ./bazelw, whose Bazel needs no registry: %v", err)
	}
	t.Setenv("TMPDIR", os.Getenv("TEST_TMPDIR")) // not below /tmp, which Bazel's sandbox hides
	dir := t.TempDir()
	w := &workspace{t, filepath.Join(dir, "workspace"), filepath.Join(dir, "out"), filepath.Join(dir, "linux")}
	for name, text := range made {
		w.write(filepath.Join(w.dir, name), strings.ReplaceAll(text, "COMPILER", filepath.Dir(compiler)))
	}
	for _, name := range copied {
		w.write(filepath.Join(w.dir, name), read(t, filepath.Join("..", name)))
	}
	w.write(filepath.Join(w.dir, "tools/toolroot/enter/program"), read(t, vmtest.File(t, "ENTER")))
	w.modules(settings)
	for name, text := range tree {
		w.write(filepath.Join(w.tree, name), text)
	}
	t.Cleanup(func() {
		if out, err := w.command("shutdown").CombinedOutput(); err != nil {
			t.Errorf("stopping Bazel: %v\n%s", err, out)
		}
	})
	return w
}

// modules gives Bazel the settings of ./bazelw without rules_go and gazelle, and each module that they name: what is
// Ember's own of those is empty here.
func (w *workspace) modules(settings string) {
	w.Helper()
	kept, module := "", read(w.T, filepath.Join(w.dir, "MODULE.bazel"))
	for line := range strings.Lines(settings) {
		if strings.Contains(line, "@MODULES@") {
			continue
		}
		kept += line
		if m := regexp.MustCompile(`--override_module=(.*?)=(%workspace%/)?(.*)`).FindStringSubmatch(line); m != nil {
			module += fmt.Sprintf("bazel_dep(name = %q)\n", m[1])
			if m[2] != "" {
				w.write(filepath.Join(w.dir, m[3], "MODULE.bazel"), fmt.Sprintf("module(name = %q)\n", m[1]))
			}
		}
	}
	w.write(filepath.Join(w.dir, ".bazelrc"), kept)
	w.write(filepath.Join(w.dir, "MODULE.bazel"), module)
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// write writes a file, which may be a program.
func (w *workspace) write(path, text string) {
	w.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		w.Fatal(err)
	}
}

func (w *workspace) command(args ...string) *exec.Cmd {
	c := exec.Command("bazel", append([]string{"--nosystem_rc", "--output_user_root=" + w.out, "--host_jvm_args=-Xmx512m"}, args...)...)
	c.Dir, c.Env = w.dir, []string{"HOME=" + w.out, "USER=somebody", "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	return c
}

// build builds the kernel of a tree and gives what Bazel said.
func (w *workspace) build(tree string) (string, error) {
	out, err := w.command("build", "//kernel", "--repo_env=EMBER_LINUX="+tree, "--color=no", "--curses=no").CombinedOutput()
	return string(out), err
}

// kernel builds the kernel of the workspace's tree and returns the tree's marker and the image.
func (w *workspace) kernel() (source, image string) {
	w.Helper()
	if said, err := w.build(w.tree); err != nil {
		w.Fatalf("%v\n%s", err, said)
	}
	return read(w.T, w.repository("SOURCE")), read(w.T, filepath.Join(w.dir, "bazel-bin/kernel/kernel/bzImage"))
}

// repository is where a file of the source's repository is.
func (w *workspace) repository(name string) string {
	w.Helper()
	found, err := filepath.Glob(filepath.Join(w.out, "*/external/*linux_source", name))
	if err != nil || len(found) != 1 {
		w.Fatalf("the source's repository has %s as %q, %v", name, found, err)
	}
	return found[0]
}
