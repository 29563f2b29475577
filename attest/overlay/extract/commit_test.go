package extract

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

func dir(path string, mode fs.FileMode) archive.Entry {
	return archive.Entry{Path: path, Kind: archive.Directory, Mode: mode}
}

func file(path string, mode fs.FileMode) archive.Entry {
	return archive.Entry{Path: path, Mode: mode, Size: int64(len(path))}
}

func link(path, target string) archive.Entry {
	return archive.Entry{Path: path, Kind: archive.Symlink, Mode: 0o777, Target: target}
}

func example() []archive.Entry {
	return []archive.Entry{
		dir("etc", 0o700), dir("etc/rancher", 0o750), file("etc/rancher/config.yaml", 0o600), file("etc/hosts", 0o644),
		link("etc/systemd/system/multi-user.target.wants/rke2.service", "../rke2.service"),
		file("etc/systemd/system/rke2.service", 0o644), file("usr/local/bin/rke2", 0o755), link("etc/localtime", "/usr/share/zoneinfo/UTC"),
	}
}

// applied is what example makes of machine's root.
func applied() map[string]string {
	return map[string]string{
		".": "drwxr-xr-x", "etc": "drwxr-xr-x", "etc/rancher": "drwxr-x---", "etc/rancher/config.yaml": "-rw------- etc/rancher/config.yaml",
		"etc/hosts": "-rw-r--r-- etc/hosts", "etc/systemd": "drwxr-xr-x", "etc/systemd/system": "drwxr-xr-x",
		"etc/systemd/system/multi-user.target.wants":              "drwxr-xr-x",
		"etc/systemd/system/multi-user.target.wants/rke2.service": "Lrwxrwxrwx ../rke2.service",
		"etc/systemd/system/rke2.service":                         "-rw-r--r-- etc/systemd/system/rke2.service",
		"etc/localtime":                                           "Lrwxrwxrwx /usr/share/zoneinfo/UTC",
		"etc/passwd":                                              "-rw-r--r-- root",
		"usr":                                                     "drwxr-xr-x", "usr/local": "drwxr-xr-x", "usr/local/bin": "drwxr-xr-x",
		"usr/local/bin/rke2": "-rwxr-xr-x usr/local/bin/rke2",
	}
}

// machine makes a small root, in which hosts is a file and localtime a link.
func machine(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	populate(t, root)
	return root
}

func populate(t *testing.T, root string) {
	t.Helper()
	for _, err := range []error{
		os.Chmod(root, 0o755),
		os.MkdirAll(filepath.Join(root, "usr/local"), 0o755),
		os.Mkdir(filepath.Join(root, "etc"), 0o755),
		os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root"), 0o644),
		os.WriteFile(filepath.Join(root, "etc/hosts"), []byte("a longer text than the new one"), 0o600),
		os.Symlink("passwd", filepath.Join(root, "etc/localtime")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// staged stages entries in dir.
func staged(t *testing.T, dir string, entries ...archive.Entry) *Staged {
	t.Helper()
	s, err := sealEntries(t, entries...).stage(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func compare(t *testing.T, root string, want map[string]string) {
	t.Helper()
	if got := list(t, root); !maps.Equal(got, want) {
		t.Errorf("the machine has\n%v\nand not\n%v", got, want)
	}
}

// mount mounts a filesystem in memory.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestCommit moves an overlay within a filesystem, and from one to another.
func TestCommit(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	for name, from := range map[string]string{"rename": t.TempDir(), "copy": mount(t, "size=1m")} {
		t.Run(name, func(t *testing.T) {
			root := machine(t)
			s := staged(t, from, example()...)
			if err := s.Commit(root); err != nil {
				t.Fatal(err)
			}
			compare(t, root, applied())
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left, err := os.ReadDir(from); err != nil || len(left) > 0 {
				t.Errorf("%v are left, %v", left, err)
			}
			// A second one finds everything there.
			if err := staged(t, from, example()...).Commit(root); err != nil {
				t.Fatal(err)
			}
			compare(t, root, applied())
		})
	}
}

// TestOwners needs a user who may give files away, or it finds that owners are asked for by the error.
func TestOwners(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	root := machine(t)
	e := file("etc/mine", 0o640)
	e.UID, e.GID = 1234, 2345
	// Only user 0 exists in the namespace.
	if err := staged(t, t.TempDir(), e).Commit(root); !errors.Is(err, unix.EINVAL) || errors.Is(err, ErrUnchanged) {
		t.Errorf("the error is %v", err)
	}
	e.UID, e.GID = 0, 0
	if err := staged(t, t.TempDir(), e).Commit(root); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "etc/mine"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 0 || st.Gid != 0 || info.Mode() != 0o640 {
		t.Errorf("it is %d:%d's with mode %v", st.Uid, st.Gid, info.Mode())
	}
}

// TestCommitRefuses is what is found before anything is written.
func TestCommitRefuses(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	outside := t.TempDir()
	for _, test := range []struct {
		name, why string
		prepare   func(root string) error
		entry     archive.Entry
	}{
		{"symlink of the machine's on the way", "no link is followed", func(root string) error { return os.Symlink(outside, root+"/etc/out") }, file("etc/out/a", 0o644)},
		{"relative symlink of the machine's on the way", "no link is followed", func(root string) error { return os.Symlink(".", root+"/etc/in") }, file("etc/in/a/b", 0o644)},
		{"symlink of the machine's in place of a directory", "something else", func(root string) error { return os.Symlink(outside, root+"/etc/out") }, dir("etc/out", 0o755)},
		{"file of the machine's on the way", "not a directory", func(string) error { return nil }, file("etc/passwd/a", 0o644)},
		{"file of the machine's in place of a directory", "something else", func(string) error { return nil }, dir("etc/passwd", 0o755)},
		{"directory of the machine's in place of a file", "has a directory", func(root string) error { return os.Mkdir(root+"/etc/d", 0o755) }, file("etc/d", 0o644)},
		{"directory of the machine's in place of a link", "has a directory", func(root string) error { return os.Mkdir(root+"/etc/d", 0o755) }, link("etc/d", "passwd")},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := machine(t)
			if err := test.prepare(root); err != nil {
				t.Fatal(err)
			}
			before := list(t, root)
			err := staged(t, t.TempDir(), file("etc/good", 0o644), test.entry).Commit(root)
			if !errors.Is(err, ErrUnchanged) || !strings.Contains(err.Error(), test.why) {
				t.Errorf("the error is %v, not ErrUnchanged with %q", err, test.why)
			}
			compare(t, root, before)
			if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
				t.Errorf("%v are outside, %v", left, err)
			}
		})
	}
	t.Run("no such root", func(t *testing.T) {
		if err := staged(t, t.TempDir(), example()...).Commit(t.TempDir() + "/none"); !errors.Is(err, ErrUnchanged) {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestCommitFollowsNoLink makes sure that a link of the machine's is replaced, not written through.
func TestCommitFollowsNoLink(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	root := machine(t)
	if err := staged(t, t.TempDir(), file("etc/localtime", 0o644)).Commit(root); err != nil {
		t.Fatal(err)
	}
	if got := list(t, root); got["etc/passwd"] != "-rw-r--r-- root" || got["etc/localtime"] != "-rw-r--r-- etc/localtime" {
		t.Errorf("the machine has %v", got)
	}
}

// TestPowerCut is a power cut in mid-commit, before each change that it makes. What is there then is the old or
// the new of each file, never a part, and the next boot's commit into the same root (were it on a disk) ends
// as if there had been no cut.
func TestPowerCut(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	cut := errors.New("power cut")
	for name, from := range map[string]string{"in mid-commit, renaming": t.TempDir(), "in mid-commit, copying": mount(t, "size=1m")} {
		t.Run(name, func(t *testing.T) {
			before, after := list(t, machine(t)), applied()
			steps := 0
			for done := false; !done; steps++ {
				root := machine(t)
				s := staged(t, from, example()...)
				left := steps
				s.step = func() error {
					if left--; left < 0 {
						return cut
					}
					return nil
				}
				err := s.Commit(root)
				done = err == nil
				if !done && (!errors.Is(err, cut) || errors.Is(err, ErrUnchanged)) {
					t.Fatalf("after %d steps the error is %v", steps, err)
				}
				for path, is := range list(t, root) {
					if filepath.Base(path) != temporary && is != before[path] && is != after[path] {
						t.Errorf("after %d steps %s is %q", steps, path, is)
					}
				}
				if err := staged(t, from, example()...).Commit(root); err != nil {
					t.Fatal(err)
				}
				compare(t, root, after)
			}
			if steps < len(example()) {
				t.Errorf("the commit had only %d steps", steps)
			}
		})
	}
}

// TestOutOfSpace fills real filesystems in memory.
func TestOutOfSpace(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	var tooLarge *SpaceError
	t.Run("before it starts", func(t *testing.T) {
		s := sealNoise(t, 100)
		s.manifest.ArchiveSize = 1 << 30
		dir := mount(t, "size=64m")
		_, err := Stage(dir, unused{}, s.key, s.manifest)
		if !errors.As(err, &tooLarge) || !tooLarge.Memory || errors.Is(err, errUsed) {
			t.Fatalf("the error is %v", err)
		}
		want := fmt.Sprintf("it needs 1025 MiB in %s, which has 64 MiB left: that is in memory", dir)
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %q, not one with %q", err, want)
		}
	})
	t.Run("in mid-extract", func(t *testing.T) {
		dir := mount(t, "size=2m")
		s := sealNoise(t, 1<<20)
		// Someone else fills the filesystem when a part is read.
		in := &filler{s.ciphertext, 300_000, func() {
			if err := os.WriteFile(filepath.Join(dir, "other"), make([]byte, 1<<20+1<<19), 0o600); err != nil {
				t.Error(err)
			}
		}}
		_, err := Stage(dir, in, s.key, s.manifest)
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("the error is %v", err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%v are left, %v", left, err)
		}
	})
	t.Run("before it is committed", func(t *testing.T) {
		root := mount(t, "size=512k")
		populate(t, root)
		before := list(t, root)
		staged, err := sealNoise(t, 1<<20).stage(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer staged.Close()
		if err := staged.Commit(root); !errors.As(err, &tooLarge) || !errors.Is(err, ErrUnchanged) {
			t.Errorf("the error is %v", err)
		}
		compare(t, root, before)
	})
}

// filler does something once when n bytes are read.
type filler struct {
	b  []byte
	n  int
	do func()
}

func (f *filler) Read(p []byte) (int, error) {
	if f.n <= 0 && f.do != nil {
		f.do()
		f.do = nil
	}
	if len(f.b) == 0 {
		return 0, fmt.Errorf("all is read")
	}
	n := copy(p, f.b)
	f.b, f.n = f.b[n:], f.n-n
	return n, nil
}
