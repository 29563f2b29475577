package vm

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
)

// list shows an archive's entries as "path mode content".
func list(t *testing.T, r io.Reader) (entries []string) {
	t.Helper()
	archive := cpio.NewReader(r)
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return entries
		} else if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf("%s %o %s", h.Name, h.Mode, cmp.Or(h.Linkname, string(body))))
	}
}

func TestOverlay(t *testing.T) {
	for length := range 5 {
		dir := t.TempDir()
		base := filepath.Join(dir, "base")
		if err := os.WriteFile(base, []byte(strings.Repeat("x", length)), 0o644); err != nil {
			t.Fatal(err)
		}
		c := Config{Dir: dir, Initrd: base, Overlay: []File{
			{Path: "/usr/lib/systemd/system/a.service", Data: "[Unit]\n"},
			{Path: "usr/lib/systemd/system/b.service", Data: "", Mode: 0o600},
			{Path: "root", Mode: cpio.TypeDir | 0o700},
			{Path: "root/.x", Target: "../usr/lib"},
			{Path: "usr/bin/run", Data: "#!/bin/sh\n", Mode: 0o755},
		}}
		name, err := c.extendInitrd()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(got, []byte(strings.Repeat("x", length)+strings.Repeat("\x00", (4-length%4)%4)+"070701")) {
			t.Errorf("after %d bytes the archive is not at a multiple of 4: %q", length, got[:16])
		}
		want := []string{
			"usr 40755 ", "usr/lib 40755 ", "usr/lib/systemd 40755 ", "usr/lib/systemd/system 40755 ",
			"usr/lib/systemd/system/a.service 100644 [Unit]\n",
			"usr/lib/systemd/system/b.service 100600 ",
			"root 40700 ", "root/.x 120777 ../usr/lib", "usr/bin 40755 ", "usr/bin/run 100755 #!/bin/sh\n",
		}
		if got := list(t, bytes.NewReader(got[(length+3)/4*4:])); !slices.Equal(got, want) {
			t.Errorf("got %q\nwant %q", got, want)
		}
	}
}

func TestOverlayWithoutInitrd(t *testing.T) {
	c := Config{Dir: t.TempDir(), Overlay: []File{{Path: "init", Target: "bin/sh"}}}
	name, err := c.extendInitrd()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := list(t, f); !slices.Equal(got, []string{"init 120777 bin/sh"}) {
		t.Errorf("got %q", got)
	}
}
