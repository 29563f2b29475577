package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
)

func dir(path string) Entry { return Entry{Path: path, Kind: Directory, Mode: 0o755} }

func file(path, content string) Entry {
	return Entry{Path: path, Mode: 0o644, Size: int64(len(content))}
}

func link(path, target string) Entry {
	return Entry{Path: path, Kind: Symlink, Mode: 0o777, Target: target}
}

// content is that of all files in these tests.
func content(e Entry) io.Reader {
	return io.LimitReader(strings.NewReader(strings.Repeat("ember\n", 1000)), e.Size)
}

func write(entries ...Entry) ([]byte, error) {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, e := range entries {
		if err := w.Add(e, content(e)); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

func read(b []byte, size int) ([]Entry, error) {
	var entries []Entry
	for r := NewReader(bytes.NewReader(b), int64(size)); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		} else if err != nil {
			return entries, err
		}
		got, err := io.ReadAll(r)
		if err != nil {
			return entries, err
		}
		if want, _ := io.ReadAll(content(e)); !bytes.Equal(got, want) {
			return entries, fmt.Errorf("%s holds %q", e.Path, got)
		}
		entries = append(entries, e)
	}
}

func example() []Entry {
	long := "opt/" + strings.Repeat(strings.Repeat("d", 200)+"/", 3) + "file"
	secret := Entry{Path: "etc/rancher/rke2/config.yaml", Mode: 0o600, UID: 1000, GID: 4294967294, Size: 1300}
	return []Entry{
		dir("etc"), dir("etc/rancher"), secret, file("etc/empty", ""),
		link("etc/systemd/system/multi-user.target.wants/rke2.service", "../../../../usr/local/lib/systemd/system/rke2.service"),
		link("etc/systemd/system/agent.service", "/dev/null"),
		file(long, "12345"), file("root/größe", "x"), file("usr/local/bin/kubectl", "#!"), link("var/lib/current", "rancher"),
	}
}

func TestGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/example.tar")
	if err != nil {
		t.Fatal(err)
	}
	got, err := write(example()...)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the archive is not that of testdata")
	}
	entries, err := read(want, len(want))
	if err != nil || !reflect.DeepEqual(entries, example()) {
		t.Errorf("it is read as %+v, %v", entries, err)
	}
}

// TestRefused is what neither a writer nor a reader of archives takes.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name, why string
		entries   []Entry
	}{
		{"absolute path", "absolute", []Entry{file("/etc/a", "")}},
		{"..", `component ".."`, []Entry{file("etc/../../a", "")}},
		{".", `component "."`, []Entry{file("./etc/a", "")}},
		{"empty component", `component ""`, []Entry{file("etc//a", "")}},
		{"empty path", "empty", []Entry{file("", "")}},
		{"control character", "control", []Entry{file("etc/a\nb", "")}},
		{"not UTF-8", "UTF-8", []Entry{file("etc/a\xff", "")}},
		{"over-long name", "255", []Entry{file("etc/"+strings.Repeat("a", 256), "")}},
		{"over-long path", "1024", []Entry{file("etc/"+strings.Repeat("a/", 512)+"a", "")}},
		{"case-fold duplicate", "case only", []Entry{file("etc/a", ""), file("etc/A", "")}},
		{"case-fold duplicate directory", "case only", []Entry{file("etc/a/b", ""), file("etc/A/c", "")}},
		{"case-fold duplicate beyond ASCII", "case only", []Entry{file("etc/\u212a", ""), file("etc/k", "")}},
		{"duplicate", "twice", []Entry{file("etc/a", ""), file("etc/a", "")}},
		{"duplicate directory", "twice", []Entry{dir("etc/a"), dir("etc/a")}},
		{"directory, then link", "twice", []Entry{dir("etc/a"), link("etc/a", "b")}},
		{"directory after what is in it", "after", []Entry{file("etc/a/b", ""), dir("etc/a")}},
		{"link in place of a directory", "after", []Entry{file("etc/a/b", ""), link("etc/a", "b")}},
		{"write through an archived symlink", "no directory", []Entry{link("etc/a", "/etc"), file("etc/a/b", "")}},
		{"write through a deep archived symlink", "no directory", []Entry{link("etc/a", "b"), dir("etc/a/b/c")}},
		{"write through a file", "no directory", []Entry{file("etc/a", ""), file("etc/a/b", "")}},
		{"symlink out, upwards", "above", []Entry{link("etc/a", "../../etc/shadow")}},
		{"symlink out, upwards and down", "above", []Entry{link("etc/a", "b/../../../etc/shadow")}},
		{"symlink out, to /proc", "not below", []Entry{link("etc/a", "/proc/1/root")}},
		{"symlink out, to a device", "not below", []Entry{link("etc/a", "/dev/sda")}},
		{"symlink out, to the root", "is empty", []Entry{link("etc/a", "usr/../..")}},
		{"symlink out, by //", "not below", []Entry{link("etc/a", "//proc//self")}},
		{"symlink to nothing", "empty", []Entry{link("etc/a", "")}},
		{"symlink with a control character", "control", []Entry{link("etc/a", "b\n")}},
		{"path outside", "only below", []Entry{file("usr/bin/sh", "")}},
		{"path of the kernel", "only below", []Entry{file("proc/sysrq-trigger", "")}},
		{"file in place of etc", "only below", []Entry{file("etc", "")}},
		{"link in place of usr", "only below", []Entry{link("usr", "opt")}},
		{"trust anchor", "comes with its image", []Entry{file("etc/ember/attest/overlay.key", "")}},
		{"trust anchor's directory", "comes with its image", []Entry{dir("etc/ember/attest")}},
		{"trust anchor in capitals", "comes with its image", []Entry{file("etc/Ember/ATTEST/overlay.key", "")}},
		{"bundle of authorities", "etc/ssl/ember.d", []Entry{file("etc/ssl/certs/ca-certificates.crt", "")}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := write(test.entries...); err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("writing it: the error is %v, not one with %q", err, test.why)
			}
			b := foreign(t, test.entries)
			if _, err := read(b, len(b)); err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("reading it: the error is %v, not one with %q", err, test.why)
			}
		})
	}
}

// foreign writes an archive as another program would.
func foreign(t *testing.T, entries []Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.Path, Mode: int64(e.Mode), Linkname: e.Target, Size: e.Size,
			Typeflag: map[Kind]byte{File: tar.TypeReg, Directory: tar.TypeDir, Symlink: tar.TypeSymlink}[e.Kind]}
		if h.Typeflag == tar.TypeDir {
			h.Name += "/"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestRefusedHeaders is what only another program writes.
func TestRefusedHeaders(t *testing.T) {
	for _, test := range []struct {
		name, why string
		header    tar.Header
	}{
		{"hard link out", "hard link", tar.Header{Name: "etc/a", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"}},
		{"hard link", "hard link", tar.Header{Name: "etc/a", Typeflag: tar.TypeLink, Linkname: "etc/b"}},
		{"device node", "device node", tar.Header{Name: "etc/a", Typeflag: tar.TypeBlock, Devmajor: 8}},
		{"character device node", "device node", tar.Header{Name: "etc/a", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}},
		{"FIFO", "FIFO", tar.Header{Name: "etc/a", Typeflag: tar.TypeFifo}},
		{"contiguous file", "kind", tar.Header{Name: "etc/a", Typeflag: tar.TypeCont}},
		{"global header", "kind", tar.Header{Name: "g", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "etc/a"}}},
		{"setuid", "setuid", tar.Header{Name: "etc/a", Typeflag: tar.TypeReg, Mode: 0o4755}},
		{"setgid", "setuid", tar.Header{Name: "etc/a", Typeflag: tar.TypeReg, Mode: 0o2755}},
		{"setgid directory", "setuid", tar.Header{Name: "etc/a/", Typeflag: tar.TypeDir, Mode: 0o2755}},
		{"sticky", "setuid", tar.Header{Name: "etc/a/", Typeflag: tar.TypeDir, Mode: 0o1777}},
		{"capabilities", "SCHILY.xattr", tar.Header{Name: "etc/a", Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}},
		{"no user", "no user", tar.Header{Name: "etc/a", Typeflag: tar.TypeReg, Uid: 1<<32 - 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			if err := w.WriteHeader(&test.header); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := read(b.Bytes(), b.Len()); err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("the error is %v, not one with %q", err, test.why)
			}
		})
	}
	t.Run("sparse file", func(t *testing.T) {
		b, err := os.ReadFile("testdata/sparse.tar")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := read(b, len(b)); err == nil || !strings.Contains(err.Error(), "GNU.sparse") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestEnd(t *testing.T) {
	whole, err := write(dir("etc"), file("etc/a", "12345"))
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, blockSize)
	for _, test := range []struct {
		name, why string
		bytes     []byte
		size      int
	}{
		{"one byte more", "something follows", append(whole[:len(whole):len(whole)], 0), len(whole) + 1},
		{"a block more", "something follows", append(whole[:len(whole):len(whole)], zeros...), len(whole) + blockSize},
		{"more than said", "more bytes than the manifest says", append(whole[:len(whole):len(whole)], 'x'), len(whole)},
		{"less than said", "1 bytes less", whole, len(whole) + 1},
		{"more is said to come", "more bytes than the manifest says", whole, len(whole) - 1},
		{"no end", "cut off", whole[:len(whole)-2*blockSize], len(whole) - 2*blockSize},
		{"half an end", "cut off", whole[:len(whole)-blockSize], len(whole) - blockSize},
		{"empty", "cut off", nil, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := read(test.bytes, test.size); err == nil || !strings.Contains(err.Error(), test.why) {
				t.Errorf("the error is %v, not one with %q", err, test.why)
			}
		})
	}
	for n := range whole {
		if _, err := read(whole[:n], len(whole)); err == nil {
			t.Errorf("the first %d of %d bytes are enough", n, len(whole))
		}
	}
}

func TestTooManyEntries(t *testing.T) {
	r := newRules()
	for i := range manifest.MaxEntries {
		if err := r.add(file(fmt.Sprintf("etc/%d", i), "")); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.add(file("etc/a", "")); err == nil {
		t.Error("there is no limit")
	}
}

func TestTooManyPaths(t *testing.T) {
	r := newRules()
	long := strings.Repeat("/"+strings.Repeat("d", 100), 9)
	for i := range manifest.MaxEntries {
		if err := r.add(file(fmt.Sprintf("etc/%d%s", i, long), "")); err != nil {
			if r.bytes > 2*maxPaths {
				t.Errorf("%d bytes of paths are remembered", r.bytes)
			}
			return
		}
	}
	t.Error("there is no limit")
}

func TestFileChangesWhileItIsRead(t *testing.T) {
	for _, text := range []string{"1234", "123456"} {
		if err := NewWriter(io.Discard).Add(Entry{Path: "etc/a", Size: 5}, strings.NewReader(text)); err == nil {
			t.Errorf("%q is written as 5 bytes", text)
		}
	}
}

func FuzzReader(f *testing.F) {
	whole, err := write(example()...)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-blockSize])
	if b, err := os.ReadFile("testdata/sparse.tar"); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		w := NewWriter(&again)
		var entries []Entry
		size := int64(0)
		for r := NewReader(bytes.NewReader(b), int64(len(b))); ; {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return
			}
			if err := w.Add(e, r); err != nil {
				if !errors.Is(err, io.ErrUnexpectedEOF) { // of content that is cut short
					t.Fatalf("%+v is read, and not written: %v", e, err)
				}
				return
			}
			if size += e.Size; size > int64(len(b)) {
				t.Fatalf("%d bytes hold %d bytes of files", len(b), size)
			}
			entries = append(entries, e)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		r := NewReader(&again, int64(again.Len()))
		for _, e := range entries {
			if back, err := r.Next(); err != nil || back != e {
				t.Fatalf("%+v is written, and read as %+v, %v", e, back, err)
			}
		}
	})
}

// TestTimesAreNotKept makes sure that the bytes do not depend on the day.
func TestTimesAreNotKept(t *testing.T) {
	b, err := write(file("etc/a", ""))
	if err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(bytes.NewReader(b)).Next()
	if err != nil || !h.ModTime.Equal(time.Unix(0, 0)) {
		t.Errorf("the time of the file is %v, %v", h.ModTime, err)
	}
}
