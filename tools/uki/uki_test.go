package uki

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func stub() []byte {
	return petest.Image(petest.Options{Sections: [][2]string{{".text", "stub"}, {".sbat", "sbat,1\n"}}})
}

func content() Content {
	return Content{
		Kernel:    petest.Image(petest.Options{Directories: 6, Sections: [][2]string{{".setup", "kernel"}}}),
		Initrd:    []byte("initrd"),
		Cmdline:   `console=ttyS0 dyndbg="file a.c +p"`,
		OSRelease: []byte("NAME=Ember\nID=ember\n"),
		Release:   "6.12.1-ember",
	}
}

func TestBuild(t *testing.T) {
	image, err := Build(stub(), content())
	if err != nil {
		t.Fatal(err)
	}
	got, err := Read(image)
	if err != nil || !reflect.DeepEqual(got, content()) {
		t.Errorf("read back as %+v: %v", got, err)
	}
	again, err := Build(stub(), content())
	if err != nil || !bytes.Equal(image, again) {
		t.Errorf("built again it is different: %v", err)
	}
}

func TestBuildRefuses(t *testing.T) {
	arm := petest.Image(petest.Options{Machine: 0xaa64, Sections: [][2]string{{".text", "stub"}}})
	for name, c := range map[string]struct {
		stub   []byte
		change func(*Content)
		want   string
	}{
		"no stub":        {nil, func(*Content) {}, "the stub: reading a UEFI program"},
		"another stub":   {arm, func(*Content) {}, "the kernel is for amd64, the stub for arm64"},
		"a UKI as stub":  {mustBuild(t), func(*Content) {}, "there is a section .osrel already"},
		"no UEFI kernel": {stub(), func(c *Content) { c.Kernel = []byte("\x7fELF") }, "CONFIG_EFI_STUB"},
		"no initrd":      {stub(), func(c *Content) { c.Initrd = nil }, "section .initrd would be empty"},
		"no line":        {stub(), func(c *Content) { c.Cmdline = "" }, "section .cmdline would be empty"},
		"two lines":      {stub(), func(c *Content) { c.Cmdline = "quiet\n" }, "not one line"},
		"not ASCII":      {stub(), func(c *Content) { c.Cmdline = "é" }, "not one line"},
		"a space":        {stub(), func(c *Content) { c.Cmdline = "quiet " }, "ends with a space"},
		"a long line":    {stub(), func(c *Content) { c.Cmdline = strings.Repeat("a", 4096) }, "has 4096 bytes"},
		"no names":       {stub(), func(c *Content) { c.OSRelease = []byte("hello") }, "has no ID"},
		"no release":     {stub(), func(c *Content) { c.Release = "6.12 #1" }, "not the release"},
	} {
		changed := content()
		c.change(&changed)
		if _, err := Build(c.stub, changed); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, not %q", name, err, c.want)
		}
	}
	longest := content()
	longest.Cmdline = strings.Repeat("a", 4095)
	if _, err := Build(stub(), longest); err != nil {
		t.Errorf("the longest line: %v", err)
	}
}

func mustBuild(t *testing.T) []byte {
	t.Helper()
	image, err := Build(stub(), content())
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestReadRefuses(t *testing.T) {
	if _, err := Read([]byte("hello")); err == nil {
		t.Error("a text was read")
	}
	_, err := Read(stub())
	for _, name := range []string{".osrel", ".cmdline", ".uname", ".initrd", ".linux"} {
		if err == nil || !strings.Contains(err.Error(), name+"\n") && !strings.HasSuffix(err.Error(), name) {
			t.Errorf("that %s is missing is not in: %v", name, err)
		}
	}
}
