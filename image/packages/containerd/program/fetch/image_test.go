package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/klauspost/compress/zstd"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// program is the least that is one for machine, with a mark at its end.
func program(machine elf.Machine, mark string) []byte {
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64,
	})
	b.WriteString(mark)
	return b.Bytes()
}

func ours(mark string) string { return string(program(machines[runtime.GOARCH], mark)) }

// archive makes a layer of "path content" lines: a path with a trailing slash is a
// directory, "a -> b" a symbolic link and "a => b" a hard link.
func archive(t testing.TB, items ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, item := range items {
		h := &tar.Header{Mode: 0o755}
		var text string
		h.Name, text, _ = strings.Cut(item, " ")
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			h.Linkname, h.Typeflag, text = target, tar.TypeSymlink, ""
		} else if target, ok := strings.CutPrefix(text, "=> "); ok {
			h.Linkname, h.Typeflag, text = target, tar.TypeLink, ""
		} else if strings.HasSuffix(h.Name, "/") {
			h.Typeflag = tar.TypeDir
		} else {
			h.Typeflag, h.Size = tar.TypeReg, int64(len(text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// memory is a content provider of layers, by their place in annotations.
type memory map[string][]byte

func (m memory) ReaderAt(_ context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	b, ok := m[d.Annotations["at"]]
	if !ok {
		return nil, errdefs.ErrNotFound
	}
	return readerAt{bytes.NewReader(b)}, nil
}

type readerAt struct{ *bytes.Reader }

func (readerAt) Close() error { return nil }

// inMemory is an image of layers, the lowest first.
func inMemory(layers ...[]byte) (image, memory) {
	var im image
	m := memory{}
	for i, l := range layers {
		at := string(rune('a' + i))
		m[at] = l
		im.manifest.Layers = append(im.manifest.Layers, ocispec.Descriptor{Annotations: map[string]string{"at": at}})
	}
	return im, m
}

// extracted gives the path and the mark of the program that is taken from an image.
func extracted(t *testing.T, im image, m memory, paths ...string) (name, mark string, err error) {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	r, err := im.extract(t.Context(), m, paths, out)
	files, _ := os.ReadDir(dir)
	if err != nil {
		if len(files) != 0 {
			t.Errorf("left %v behind", files)
		}
		return "", "", err
	}
	text, rerr := os.ReadFile(out)
	if rerr != nil {
		t.Fatal(rerr)
	}
	info, rerr := os.Stat(out)
	if rerr != nil || info.Mode() != 0o755 || len(files) != 1 || r.Size != int64(len(text)) {
		t.Errorf("%v, %v, files %v, %+v", info.Mode(), rerr, files, r)
	}
	return r.Path, string(text[64:]), nil
}
