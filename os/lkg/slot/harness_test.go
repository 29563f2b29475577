package slot_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
)

// program is an EFI program as far as this package knows.
func program(seed byte, size int) []byte {
	b := make([]byte, size)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	copy(b, "MZ")
	return b
}

func image(b []byte) state.Image {
	if len(b) == 0 {
		return state.Image{}
	}
	return state.Image{Size: int64(len(b)), SHA256: sha256.Sum256(b)}
}

func opener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func candidate(system, config []byte) slot.Candidate {
	return slot.Candidate{
		Content: state.Content{System: image(system), Config: image(config)},
		System:  opener(system), Config: opener(config),
		Overlay: 5, Success: time.Unix(1795262400, 0).UTC(), TPM: true, Resets: 8,
	}
}

func open(t *testing.T, f slot.FS) *slot.Store { return openHint(t, f, state.None) }

func openHint(t *testing.T, f slot.FS, hint state.Slot) *slot.Store {
	t.Helper()
	s, err := slot.Open(f, defaultPath, hint)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func commit(t *testing.T, f slot.FS, c slot.Candidate) slot.Result {
	t.Helper()
	res, err := open(t, f).Commit(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func read(t *testing.T, f slot.FS, name string) []byte {
	t.Helper()
	opened, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	size, err := opened.Size()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(opened, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, f slot.FS, name string, at int64, b []byte) {
	t.Helper()
	opened, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		opened, err = f.Create(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if _, err := opened.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

func mkdirs(t *testing.T, f slot.FS, dirs ...string) {
	t.Helper()
	for _, d := range dirs {
		if err := f.Mkdir(d); err != nil {
			t.Fatal(err)
		}
	}
}

// systems gives a test both kinds of filesystem.
func systems(t *testing.T, test func(t *testing.T, f slot.FS)) {
	t.Run("fat", func(t *testing.T) { test(t, fattest.New(4085)) })
	t.Run("dir", func(t *testing.T) {
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		test(t, slot.Dir{Root: root})
	})
}
