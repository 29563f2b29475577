package disk_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	m.Run()
}

// The image is read back by the disk tools.
func TestMake(t *testing.T) {
	root := toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}
	dir := t.TempDir()
	for name, text := range map[string]string{"one": "first", "two": strings.Repeat("second", 10<<20/6)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := filepath.Join(dir, "disk")
	files := map[string]string{"EFI/BOOT/BOOTX64.EFI": filepath.Join(dir, "one"), "EFI/EMBER/A.EFI": filepath.Join(dir, "two")}
	if err := disk.Make(t.Context(), root, image, files, 40<<20); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(image)
	if err != nil || info.Size() < 50<<20 || info.Size() > 60<<20 {
		t.Errorf("the image is %v: %v", info, err)
	}
	cmd, err := root.Command(t.Context(), toolroot.Options{Binds: []toolroot.Bind{{Src: dir, Dst: "/dir", Write: true}}, Dir: "/dir", NoNet: true},
		"bash", "-euc", "sfdisk -l disk; sfdisk -V disk; mdir -b -/ -i disk@@1M ::; mcopy -i disk@@1M ::EFI/EMBER/A.EFI back")
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"EFI System", "No errors detected", "::/EFI/BOOT/BOOTX64.EFI", "::/EFI/EMBER/A.EFI"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	two, err := os.ReadFile(files["EFI/EMBER/A.EFI"])
	if err != nil {
		t.Fatal(err)
	}
	if back, err := os.ReadFile(filepath.Join(dir, "back")); err != nil || !bytes.Equal(back, two) {
		t.Errorf("the file has %d bytes, not %d: %v", len(back), len(two), err)
	}
	partition, err := disk.Partition(image)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := fattest.ReadFile(partition, "EFI/EMBER/A.EFI"); err != nil || !bytes.Equal(back, two) {
		t.Errorf("read without tools, the file has %d bytes, not %d: %v", len(back), len(two), err)
	}
	if _, err := fattest.ReadFile(partition, "EFI/NONE"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := disk.Make(t.Context(), root, image, files, 0); err == nil {
		t.Error("an image was made over another")
	}
	if err := disk.Make(t.Context(), root, image+"2", map[string]string{"a": filepath.Join(dir, "none")}, 0); err == nil {
		t.Error("a file that is not there was written")
	}
}
