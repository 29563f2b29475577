package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// overlayPath is where ciphertext is served, with name and version behind it.
const overlayPath = "v1/overlay/"

// Overlays are what is published, by name; package seal knows the files.
type Overlays map[string]*Overlay

// Overlay is one version of one.
type Overlay struct {
	manifest *manifest.Manifest
	signed   []byte
	key      []byte
	url      string
	file     *os.File // nil if the ciphertext is elsewhere
}

// Version is the overlay's.
func (o *Overlay) Version() uint64 { return o.manifest.Version }

// Publisher reads a folder of overlays.
type Publisher struct {
	Folder     string
	Identities []age.Identity // what opens the headers
	// Keys are the public keys that sign manifests. Machines have them too; here they only tell an operator
	// early of a wrong one, and may be left out.
	Keys []manifest.Key
	// Registry knows the versions that came before; nil if nobody asks.
	Registry *store.Registry
}

// Read reads what is published now. An overlay that cannot be had, or is older than one published before, is
// left out, or as it is in old, and is part of the error. So an error and overlays come together. Names that
// begin with a dot are not looked at: they are for what is being copied.
func (p *Publisher) Read(ctx context.Context, old Overlays) (Overlays, error) {
	overlays := make(Overlays)
	folders, err := os.ReadDir(p.Folder)
	if err != nil {
		return old, fmt.Errorf("reading overlays: %w", err)
	}
	var problems []error
	for _, folder := range folders {
		name := folder.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		o, err := p.open(ctx, name)
		if err != nil {
			problems = append(problems, fmt.Errorf("reading overlay %q: %w", name, err))
			if o = old[name]; o == nil {
				continue
			}
		}
		overlays[name] = o
	}
	return overlays, errors.Join(problems...)
}

func (p *Publisher) open(ctx context.Context, name string) (*Overlay, error) {
	// The folder is opened once, so that all files are of the same one when it is replaced.
	folder, err := os.OpenRoot(filepath.Join(p.Folder, name))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	signed, err := readSome(folder, seal.ManifestFile, manifest.MaxSize+1)
	if err != nil {
		return nil, err
	}
	o := &Overlay{signed: signed}
	if len(p.Keys) > 0 {
		o.manifest, err = manifest.Open(signed, p.Keys...)
	} else {
		o.manifest, err = manifest.Peek(signed)
	}
	if err != nil {
		return nil, err
	}
	if o.manifest.Name != name {
		return nil, fmt.Errorf("its manifest is that of %q", o.manifest.Name)
	}
	head, err := o.locate(folder)
	if err != nil {
		return nil, err
	}
	if o.key, err = seal.FileKey(head, p.Identities...); err != nil {
		return nil, err
	}
	if p.Registry == nil {
		return o, nil
	}
	return o, p.Registry.Publish(ctx, name, o.manifest.Version)
}

// locate finds the ciphertext and returns its beginning.
func (o *Overlay) locate(folder *os.Root) (head []byte, err error) {
	text, err := readSome(folder, seal.AddressFile, 4<<10)
	if err == nil {
		o.url = strings.TrimSpace(string(text))
		if u, err := url.Parse(o.url); err != nil || !u.IsAbs() || u.User != nil {
			return nil, fmt.Errorf("%s has no address of the form SCHEME://HOST/PATH", seal.AddressFile)
		}
		return readSome(folder, seal.HeaderFile, seal.HeaderSize)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := folder.Open(seal.CiphertextFile)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != o.manifest.Ciphertext.Size {
		err = fmt.Errorf("%s has %d bytes, not %d", seal.CiphertextFile, info.Size(), o.manifest.Ciphertext.Size)
	}
	head = make([]byte, min(seal.HeaderSize, o.manifest.Ciphertext.Size))
	if err == nil {
		_, err = f.ReadAt(head, 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// Requests may read it when the overlay has been replaced: it is closed when nothing refers to it.
	o.file, o.url = f, overlayPath+o.manifest.Name+"/"+strconv.FormatUint(o.manifest.Version, 10)
	return head, nil
}

// readSome reads the beginning of a file.
func readSome(folder *os.Root, name string, most int64) ([]byte, error) {
	f, err := folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}

// grant is what a machine gets of it.
func (o *Overlay) grant() *protocol.Overlay {
	return &protocol.Overlay{URL: o.url, FileKey: o.key, Manifest: o.signed}
}

// choose is the overlay that a machine gets by name, if it is fit for it.
func (all Overlays) choose(name string, atLeast uint64, node string, now time.Time) (*Overlay, error) {
	unfit := func(code, format string, args ...any) (*Overlay, error) {
		return nil, &refusal{status: http.StatusServiceUnavailable, code: code, message: fmt.Sprintf(format, args...), after: time.Minute}
	}
	o := all[name]
	switch {
	case o == nil:
		return unfit(CodeNoOverlay, "overlay %q is not published", name)
	case o.manifest.Version < atLeast:
		return unfit(CodeOldOverlay, "overlay %q is of version %d, and %d is asked for", name, o.manifest.Version, atLeast)
	case !o.manifest.Expires.IsZero() && !now.Before(o.manifest.Expires):
		return unfit(CodeExpiredOverlay, "overlay %q has expired", name)
	case len(o.manifest.Nodes) > 0 && !slices.Contains(o.manifest.Nodes, node):
		return nil, &refusal{status: http.StatusForbidden, code: CodeOthersOverlay, message: fmt.Sprintf("overlay %q is for other machines", name)}
	}
	return o, nil
}

// shelf is the ciphertext that can be fetched: what is published, and for as long as a grant for it may be
// under way what was.
type shelf struct {
	mu      sync.Mutex
	current map[string]*Overlay // by path
	gone    map[string]retired
}

type retired struct {
	*Overlay
	until time.Time
}

func (a *shelf) add(overlays Overlays, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := make(map[string]*Overlay)
	for _, o := range overlays {
		if o.file != nil {
			next[o.url] = o
		}
	}
	left := make(map[string]retired)
	for path, r := range a.gone {
		if next[path] == nil && now.Before(r.until) {
			left[path] = r
		}
	}
	for path, o := range a.current {
		if next[path] == nil {
			left[path] = retired{o, now.Add(certificateLife)}
		}
	}
	a.current, a.gone = next, left
}

func (a *shelf) find(path string, now time.Time) *Overlay {
	a.mu.Lock()
	defer a.mu.Unlock()
	if o := a.current[path]; o != nil {
		return o
	}
	if r, ok := a.gone[path]; ok && now.Before(r.until) {
		return r.Overlay
	}
	return nil
}
