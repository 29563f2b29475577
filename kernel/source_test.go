package kernel_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOwnTree gives Bazel a kernel's tree with one flag, changes the tree, and gives it what is none.
func TestOwnTree(t *testing.T) {
	// As small as the rules allow. The image says what it was made from, and has another last line each time.
	tree := map[string]string{
		"Kconfig":   "mainmenu \"A kernel\"\n",
		"driver.c":  "as it is\n",
		".git/HEAD": "first\n",
		"Makefile": `
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage:
	mkdir -p $(O)/arch/x86/boot
	cat driver.c $(O)/.config /proc/sys/kernel/random/uuid >$(O)/arch/x86/boot/bzImage
kernelrelease:
	@echo own
`,
	}
	w := newWorkspace(t, tree)
	source, image := w.kernel()
	if want := "as it is\nCONFIG_A=y\n"; !strings.HasPrefix(image, want) {
		t.Errorf("the kernel is %q, want %q first", image, want)
	}
	if src, err := os.Readlink(w.repository("src")); src != w.tree {
		t.Errorf("the source is %s, %v; want %s", src, err, w.tree)
	}
	var component map[string]string
	if err := json.Unmarshal([]byte(read(t, w.repository("component.json"))), &component); err != nil || component["source"] != w.tree || component["version"] != "0" {
		t.Errorf("the component is %v, %v", component, err)
	}
	left := map[string]string{}
	for name := range tree {
		left[name] = read(t, filepath.Join(w.tree, name))
	}
	if !maps.Equal(left, tree) {
		t.Errorf("the tree was changed to %q", left)
	}

	w.write(filepath.Join(w.tree, ".git/HEAD"), "second\n")
	if s, i := w.kernel(); s != source || i != image {
		t.Errorf("a commit changes the source from %q to %q, the kernel from %q to %q", source, s, image, i)
	}
	w.write(filepath.Join(w.tree, "driver.c"), "changed!\n")
	if s, i := w.kernel(); s == source || !strings.HasPrefix(i, "changed!\n") {
		t.Errorf("another driver changes the source from %q to %q, the kernel from %q to %q", source, s, image, i)
	}

	relative, err := filepath.Rel(filepath.Dir(w.repository("SOURCE")), w.tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"linux", relative, w.tree + "/.git", w.tree + "/none"} {
		said, err := w.build(wrong)
		if want := "EMBER_LINUX=" + wrong + " is not the absolute path of a kernel's tree"; err == nil || !strings.Contains(said, want) {
			t.Errorf("%v, want %q:\n%s", err, want, said)
		}
	}
}
