package depot_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/overlaytest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

// shop is a depot, and who makes overlays for it.
type shop struct {
	*depot.Depot
	maker overlaytest.Maker
}

func open(t *testing.T) *shop {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	m := overlaytest.New(t)
	return &shop{&depot.Depot{
		Folder: t.TempDir(), Identities: []age.Identity{m.Server}, Keys: []manifest.Key{m.Key()},
		Registry: store.NewRegistry(s, nil), Keep: 2, MaxSize: 1 << 20,
	}, m}
}

// files are those of a version.
func (m *shop) files(t *testing.T, version uint64) depot.Files {
	t.Helper()
	description := overlaytest.Manifest("rack", version)
	ciphertext := bytes.NewReader(m.maker.Seal(t, description, ""))
	names, contents := []string{seal.ManifestFile, seal.CiphertextFile}, []io.Reader{bytes.NewReader(m.maker.Sign(t, description)), ciphertext}
	return func() (string, io.Reader, error) {
		if len(names) == 0 {
			return "", nil, io.EOF
		}
		name, content := names[0], contents[0]
		names, contents = names[1:], contents[1:]
		return name, content, nil
	}
}

func (m *shop) versions(t *testing.T) (versions []uint64) {
	t.Helper()
	o, err := m.Get(t.Context(), "rack")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range o.Versions {
		versions = append(versions, v.Version)
	}
	return versions
}

// Of versions that come at once the newest wins, and none of those before it takes its place.
func TestAtOnce(t *testing.T) {
	m := open(t)
	const most = 8
	results := make([]error, most+1)
	var all sync.WaitGroup
	for version := uint64(1); version <= most; version++ {
		files := m.files(t, version)
		all.Go(func() { _, results[version] = m.Publish(t.Context(), "rack", files) })
	}
	all.Wait()
	for version, err := range results[1:] {
		if err != nil && !errors.Is(err, store.ErrOlder) {
			t.Errorf("version %d: %v", version+1, err)
		}
	}
	versions := m.versions(t)
	if results[most] != nil || versions[0] != most || len(versions) > 1+m.Keep || !slices.IsSortedFunc(versions, func(a, b uint64) int { return int(b) - int(a) }) {
		t.Errorf("there are the versions %d; the newest: %v", versions, results[most])
	}
	left, err := os.ReadDir(m.Folder)
	if err != nil || len(left) > 2 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// What is kept are the versions, not copies of them.
func TestKeptTakesNoRoom(t *testing.T) {
	m := open(t)
	if _, err := m.Publish(t.Context(), "rack", m.files(t, 1)); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(m.Folder, "rack", seal.CiphertextFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Publish(t.Context(), "rack", m.files(t, 2)); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(filepath.Join(m.Folder, ".kept", "rack", "1", seal.CiphertextFile))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("another file is kept, %v", err)
	}
	if _, err := m.Downgrade(t.Context(), "rack", 1); err != nil {
		t.Fatal(err)
	}
	again, err := os.Stat(filepath.Join(m.Folder, "rack", seal.CiphertextFile))
	if err != nil || !os.SameFile(before, again) {
		t.Errorf("another file is published, %v", err)
	}
}

// A folder that cannot be read is told of, and keeps the others from nobody.
func TestListOdd(t *testing.T) {
	m := open(t)
	if _, err := m.Publish(t.Context(), "rack", m.files(t, 1)); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"odd/manifest", "No Name/manifest", ".hidden/manifest"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(m.Folder, filepath.Dir(file)), 0o755), os.WriteFile(filepath.Join(m.Folder, file), []byte("odd"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := m.List(t.Context())
	if err != nil || len(list) != 3 || list[0].Problem == "" || list[1].Problem == "" || list[2].Name != "rack" || list[2].Problem != "" {
		t.Errorf("%+v, %v", list, err)
	}
}
