// Package kernel_test checks what the kernel's build gives against what was asked for.
package kernel_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/kernel/kconfig"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// maxSize is the budget of the kernel image, in bytes.
const maxSize = 11_000_000

func requests(t *testing.T) []kconfig.Request {
	t.Helper()
	var fragments []*kconfig.Fragment
	names, err := filepath.Glob("fragments/*.config")
	if err != nil || len(names) == 0 {
		t.Fatalf("finding the fragments: %v, %v", names, err)
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fragment, err := kconfig.ParseFragment(name, f)
		if err != nil {
			t.Fatal(err)
		}
		fragments = append(fragments, fragment)
	}
	merged, err := kconfig.Merge(fragments)
	if err != nil {
		t.Fatal(err)
	}
	return merged
}

func TestEveryOptionHasAReason(t *testing.T) {
	for _, problem := range kconfig.CheckReasons(requests(t)) {
		t.Error(problem)
	}
}

func TestEveryOptionSurvives(t *testing.T) {
	f, err := os.Open(vmtest.File(t, "CONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	config, err := kconfig.ParseConfig("config", f)
	if err != nil {
		t.Fatal(err)
	}
	marker, err := filepath.EvalSymlinks(vmtest.File(t, "SOURCE"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := kconfig.ReadTree(os.DirFS(filepath.Join(filepath.Dir(marker), "src")), "x86")
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range kconfig.Check(requests(t), config, tree) {
		t.Error(problem)
	}
}

// TestCompiler fails if the kernel's compiler is another than the tool root's locked one, such as
// the host's.
func TestCompiler(t *testing.T) {
	lock, err := os.ReadFile(vmtest.File(t, "COMPILER_LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	version := ""
	for line := range strings.Lines(string(lock)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "deb" && f[1] == "gcc-14" {
			version = f[2]
		}
	}
	config, err := os.ReadFile(vmtest.File(t, "CONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "CONFIG_CC_VERSION_TEXT=\"gcc (Debian " + version + ")"; version == "" || !strings.Contains(string(config), want) {
		t.Errorf("the configuration was not made with the locked compiler: it has no %s", want)
	}
}

func TestImage(t *testing.T) {
	image, err := os.ReadFile(vmtest.File(t, "KERNEL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(image))
	if len(image) > maxSize {
		t.Errorf("the kernel has %d bytes, the budget is %d", len(image), maxSize)
	}
	if string(image[0x202:0x206]) != "HdrS" {
		t.Errorf("bytes 0x202 to 0x205 are %q, want the boot protocol's HdrS", image[0x202:0x206])
	}
	release, err := os.ReadFile(vmtest.File(t, "RELEASE"))
	if err != nil {
		t.Fatal(err)
	}
	if r := strings.TrimSpace(string(release)); !strings.HasPrefix(r, "6.12.") || !strings.HasSuffix(r, "-ember") {
		t.Errorf("the release is %q, want 6.12.*-ember", r)
	}
}
