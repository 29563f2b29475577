// Package busybox_test runs the busybox of the image.
package busybox_test

import (
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestApplets fails on a name in applets.bzl that this busybox does not have.
func TestApplets(t *testing.T) {
	busybox := vmtest.File(t, "BUSYBOX")
	out, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	has := map[string]bool{}
	for name := range strings.Lines(string(out)) {
		has[strings.TrimSpace(name)] = true
	}
	applets := strings.Fields(os.Getenv("APPLETS"))
	if len(applets) == 0 {
		t.Fatal("no applets are named")
	}
	for _, applet := range applets {
		if !has[path.Base(applet)] {
			t.Errorf("busybox has no %s", applet)
		}
	}
}
