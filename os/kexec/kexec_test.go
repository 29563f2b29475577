package kexec

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/tools/uki"
	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func image(t *testing.T) []byte {
	t.Helper()
	stub := petest.Image(petest.Options{Sections: [][2]string{{".text", "stub"}, {".sbat", "sbat,1\n"}}})
	b, err := uki.Build(stub, uki.Content{
		Kernel: petest.Image(petest.Options{Sections: [][2]string{{".setup", "kernel"}}}),
		Initrd: []byte("initrd"), Cmdline: "console=ttyS0", OSRelease: []byte("ID=ember\n"), Release: "6.12",
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestForbidden(t *testing.T) {
	if !nstest.Inside(t, 0) { // root of a namespace may not
		return
	}
	// A kernel may also have been built without it.
	if err := Load(image(t)); !errors.Is(err, ErrForbidden) && !errors.Is(err, unix.ENOSYS) {
		t.Error(err)
	}
}

func TestNoImage(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": nil, "a program": petest.Image(petest.Options{Sections: [][2]string{{".text", "x"}}}), "half": image(t)[:2000],
	} {
		if err := Load(b); err == nil || !strings.Contains(err.Error(), "reading a") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
