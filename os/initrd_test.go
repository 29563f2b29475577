package os_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/initrd/tree"
)

// maxInitrd is the budget of the initrd, in bytes.
const maxInitrd = 25_000_000

// added is what an initrd has and its image has not, beside images of packed files.
var added = []string{"usr/lib/ember", "usr/lib/ember/end", "usr/lib/ember/manifest", "usr/lib/ember/packed"}

// TestInitrdIsImage compares, file by file, what the kernel will unpack with the image. Packed files are TestPacked's.
func TestInitrdIsImage(t *testing.T) {
	want, got := imageFiles(t), unpack(t, vmtest.File(t, "INITRD"))
	packedFiles := packedIn(got)
	if len(packedFiles) == 0 {
		t.Error("nothing is packed")
	}
	for _, path := range added {
		if got[path] == "" {
			t.Errorf("the initrd has no %s", path)
		}
		delete(got, path)
	}
	for path := range maps.Clone(got) {
		if name, ok := strings.CutSuffix("/"+path, ".squashfs"); ok && packed.IsImage("/"+path) {
			delete(got, path)
			delete(got, name[1:])
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		e := want[path]
		data := e.Data
		if e.Target != "" {
			data = []byte(e.Target)
		}
		is := describe(int64(e.Mode), int(e.UID), int(e.GID), data)
		if got[path] != is && !(e.IsRegular() && slices.Contains(packedFiles, path)) {
			t.Errorf("%s: the initrd has %.100q, the image %.100q", path, got[path], is)
		}
		delete(got, path)
	}
	for path := range got {
		t.Errorf("the initrd has %s, the image has not", path)
	}
}

// TestPacked compares what a machine reads of packed files with the image.
func TestPacked(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Append = "ember.debug=shell"
	want, files := imageFiles(t), packedIn(unpack(t, c.Initrd))
	m := vmtest.Start(t, c)
	await(m, stage.Ready)
	for _, path := range files {
		e := want[path]
		is := fmt.Sprintf("%x  - %o %d:%d", sha256.Sum256(e.Data), e.Mode&0o7777, e.UID, e.GID)
		if got := ask(t, m, fmt.Sprintf("echo $(sha256sum < /%[1]s) $(stat -Lc '%%a %%u:%%g' /%[1]s)", path)); got != strings.ReplaceAll(is, "  ", " ") {
			t.Errorf("%s is %s, and in the image %s", path, got, is)
		}
	}
}

func imageFiles(t *testing.T) map[string]tree.Entry {
	t.Helper()
	image, err := initrd.Load(vmtest.File(t, "IMAGE"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]tree.Entry{}
	for _, e := range image.Entries() {
		files[e.Path] = e
	}
	return files
}

// packedIn are the files of an initrd that are links to where they are in its images.
func packedIn(files map[string]string) (paths []string) {
	for image := range files {
		if !packed.IsImage("/" + image) {
			continue
		}
		dir := packed.Dir(strings.TrimSuffix(path.Base(image), ".squashfs"))
		for name, is := range files {
			if is == describe(unix.S_IFLNK|0o777, 0, 0, []byte(path.Join(dir, name))) {
				paths = append(paths, name)
			}
		}
	}
	slices.Sort(paths)
	return paths
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
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	all, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	plain := max(0, bytes.Index(all, []byte("070701"))) // where the one begins that is not compressed
	frames, err := zstd.NewReader(bytes.NewReader(bytes.TrimRight(all[:plain], "\x00")))
	if err != nil {
		t.Fatal(err)
	}
	defer frames.Close()
	found := map[string]string{}
	linked := map[int64][]string{} // names whose data come with a later one
	for stream := bufio.NewReader(io.MultiReader(frames, bytes.NewReader(all[plain:]))); skipZeros(stream); {
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
