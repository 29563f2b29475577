package fetch

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// extract writes the first of paths that is in the image, else its entrypoint, to the
// file out, which is replaced at once or not at all.
func (im *image) extract(ctx context.Context, provider content.Provider, paths []string, out string) (Result, error) {
	layers := slices.Clone(im.manifest.Layers)
	slices.Reverse(layers)
	open := func(i int) (io.ReadCloser, error) {
		r, err := provider.ReaderAt(ctx, layers[i])
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{content.NewReader(r), r}, nil
	}
	var spooled *os.File
	defer func() {
		if spooled != nil {
			spooled.Close()
			os.Remove(spooled.Name()) // it is not there if it became out
		}
	}()
	spool := func() (f *os.File, err error) {
		spooled, err = os.CreateTemp(filepath.Dir(out), ".ember-fetch-*")
		return spooled, err
	}
	wanted := im.wanted(paths)
	s := newSearch(len(layers), open, wanted, spool)
	name, e, err := s.find()
	if err != nil {
		return Result{}, err
	}
	if name == "" {
		return Result{}, programError{wanted: wanted}
	}
	f, err := s.program(e)
	if err != nil {
		return Result{}, err
	}
	if err := checkProgram(f); err != nil {
		return Result{}, programError{name: name, why: err.Error()}
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Result{}, err
	}
	if err := f.Chmod(0o755); err != nil {
		return Result{}, err
	}
	// A file that is open for writing cannot be executed.
	if err := f.Close(); err != nil {
		return Result{}, err
	}
	return Result{Digest: im.digest, Path: "/" + name, Size: size}, os.Rename(f.Name(), out)
}

// wanted is what to look for, in this order.
func (im *image) wanted(paths []string) []string {
	var wanted []string
	for _, p := range slices.Concat(paths, im.entrypoints()) {
		if p = clean(p); p != "" && !slices.Contains(wanted, p) {
			wanted = append(wanted, p)
		}
	}
	return wanted
}

// entrypoints is where the entrypoint can be, as for execvp(3).
func (im *image) entrypoints() []string {
	switch {
	case im.entrypoint == "":
		return nil
	case strings.HasPrefix(im.entrypoint, "/"):
		return []string{im.entrypoint}
	case strings.Contains(im.entrypoint, "/"):
		return []string{path.Join(im.directory, im.entrypoint)}
	}
	var found []string
	for dir := range strings.SplitSeq(im.path, ":") {
		found = append(found, path.Join(dir, im.entrypoint))
	}
	return found
}

// programError is of an image without a program for us.
type programError struct {
	wanted    []string // none of these is there
	name, why string   // or this is, but cannot be it
}

func (e programError) Error() string {
	if e.name == "" {
		return "there is no " + strings.Join(e.wanted, ", ") + " in it"
	}
	return fmt.Sprintf("its /%s %s", e.name, e.why)
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkProgram looks whether the kernel can run the program, whatever the image says
// of itself. The error completes a sentence that begins with its name.
func checkProgram(r io.ReaderAt) error {
	f, err := elf.NewFile(r)
	if err != nil {
		return fmt.Errorf("is not a program (%w)", err)
	}
	if want := machines[runtime.GOARCH]; f.Machine != want {
		return fmt.Errorf("is a program for %v, and this machine is %v", f.Machine, want)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return fmt.Errorf("is not a program but %v", f.Type)
	}
	return nil
}
