package os_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/initrd"
)

// maxInitrd is the budget of the initrd, in bytes.
const maxInitrd = 25_000_000

// added is what an initrd has and its image has not.
var added = []string{"usr/lib/ember", "usr/lib/ember/end", "usr/lib/ember/manifest"}

// TestInitrdIsImage compares, file by file, what the kernel will unpack with the image.
func TestInitrdIsImage(t *testing.T) {
	tree, err := initrd.Load(vmtest.File(t, "IMAGE"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, e := range tree.Entries() {
		data := e.Data
		if e.Target != "" {
			data = []byte(e.Target)
		}
		want[e.Path] = describe(int64(e.Mode), int(e.UID), int(e.GID), data)
	}
	got := unpack(t, vmtest.File(t, "INITRD"))
	for _, path := range added {
		if got[path] == "" {
			t.Errorf("the initrd has no %s", path)
		}
		delete(got, path)
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%s: the initrd has %q, the image %q", path, got[path], want[path])
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("the initrd has %s, the image has not", path)
	}
}

func TestInitrdSize(t *testing.T) {
	info, err := os.Stat(vmtest.File(t, "INITRD"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", info.Size())
	if info.Size() > maxInitrd {
		t.Errorf("the initrd has %d bytes, the budget is %d", info.Size(), maxInitrd)
	}
}

func describe(mode int64, uid, gid int, data []byte) string {
	return fmt.Sprintf("%o %d:%d %x", mode, uid, gid, data)
}

// unpack reads all archives of an initrd, a later one's files over an earlier one's.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	frames, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	found := map[string]string{}
	linked := map[int64][]string{} // names whose data come with a later one
	for stream := bufio.NewReader(frames); skipZeros(stream); {
		archive := cpio.NewReader(stream)
		for {
			h, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			if h.Linkname != "" {
				data = []byte(h.Linkname)
			}
			found[h.Name] = describe(int64(h.Mode), h.Uid, h.Guid, data)
			if h.Links > 1 && h.Mode.IsRegular() {
				linked[h.Inode] = append(linked[h.Inode], h.Name)
				longest := slices.MaxFunc(linked[h.Inode], func(a, b string) int { return len(found[a]) - len(found[b]) })
				for _, name := range linked[h.Inode] {
					found[name] = found[longest]
				}
			}
		}
		clear(linked)
	}
	return found
}

// skipZeros passes over the padding of an archive and tells if another follows.
func skipZeros(r *bufio.Reader) bool {
	for {
		b, err := r.Peek(1)
		if err != nil {
			return false
		}
		if !bytes.Equal(b, []byte{0}) {
			return true
		}
		r.Discard(1)
	}
}
