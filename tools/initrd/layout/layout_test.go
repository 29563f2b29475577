package layout

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// writer makes a layout in a directory.
type writer struct {
	t   testing.TB
	dir string
}

func (w writer) blob(mediaType string, data []byte) map[string]any {
	w.t.Helper()
	sum := sha256.Sum256(data)
	name := hex.EncodeToString(sum[:])
	w.write(filepath.Join("blobs/sha256", name), data)
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(data)}
}

func (w writer) write(name string, data []byte) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

func (w writer) json(v any) []byte {
	w.t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

const ociPrefix = "application/vnd.oci.image."

// image writes an image with three layers of the contents "one", "two", "three".
func (w writer) image(arch string) map[string]any {
	w.t.Helper()
	var layers []any
	var diffIDs []string
	for i, c := range []struct{ mediaType, content string }{
		{"tar", "one"}, {"tar+gzip", "two"}, {"tar+zstd", "three"},
	} {
		sum := sha256.Sum256([]byte(c.content))
		diffIDs = append(diffIDs, "sha256:"+hex.EncodeToString(sum[:]))
		var b bytes.Buffer
		var z io.WriteCloser
		switch i {
		case 0:
			b.WriteString(c.content)
		case 1:
			z = gzip.NewWriter(&b)
		case 2:
			z, _ = zstd.NewWriter(&b)
		}
		if z != nil {
			io.WriteString(z, c.content)
			z.Close()
		}
		layers = append(layers, w.blob(ociPrefix+"layer.v1."+c.mediaType, b.Bytes()))
	}
	config := w.blob(ociPrefix+"config.v1+json", w.json(map[string]any{
		"architecture": arch, "rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	}))
	d := w.blob(ociPrefix+"manifest.v1+json", w.json(map[string]any{"config": config, "layers": layers}))
	d["platform"] = map[string]string{"architecture": arch, "os": "linux"}
	return d
}

func (w writer) index(manifests ...any) []byte {
	return w.json(map[string]any{"schemaVersion": 2, "manifests": manifests})
}

func newLayout(t testing.TB, archs ...string) writer {
	w := writer{t, t.TempDir()}
	w.write("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	var manifests []any
	for _, a := range archs {
		manifests = append(manifests, w.image(a))
	}
	w.write("index.json", w.index(manifests...))
	return w
}

// contents opens an image and reads its layers.
func contents(dir, arch string) (string, error) {
	img, err := Open(dir, arch)
	if err != nil {
		return "", err
	}
	out := img.Architecture
	for _, l := range img.Layers {
		err := l.Read(func(r io.Reader) error {
			var b [2]byte // the rest is for Read to check
			n, err := io.ReadFull(r, b[:])
			out += fmt.Sprintf(" %s", b[:n])
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return out, nil
}

func TestOpen(t *testing.T) {
	one, two := newLayout(t, "amd64"), newLayout(t, "amd64", "arm64")
	nested := newLayout(t)
	nested.write("index.json", nested.index(nested.blob(ociPrefix+"index.v1+json", nested.index(nested.image("amd64"), nested.image("arm64")))))
	for _, c := range []struct{ dir, arch, want string }{
		{one.dir, "", "amd64 on tw th"},
		{one.dir, "amd64", "amd64 on tw th"},
		{two.dir, "arm64", "arm64 on tw th"},
		{nested.dir, "arm64", "arm64 on tw th"},
	} {
		if got, err := contents(c.dir, c.arch); err != nil || got != c.want {
			t.Errorf("%s %s: %q, %v", c.dir, c.arch, got, err)
		}
	}
	for dir, arch := range map[string]string{one.dir: "arm64", two.dir: "", nested.dir: "riscv64", t.TempDir(): ""} {
		if got, err := contents(dir, arch); err == nil {
			t.Errorf("%s %q: %q", dir, arch, got)
		}
	}
}

// Any change of any blob, and of what names it, is found.
func TestDamage(t *testing.T) {
	blobs, err := filepath.Glob(filepath.Join(newLayout(t, "amd64").dir, "blobs/sha256/*"))
	if err != nil || len(blobs) != 5 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	for _, change := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)-1] },
		func(b []byte) []byte { return append(b, ' ') },
		func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		func(b []byte) []byte { return nil },
	} {
		for _, name := range blobs {
			w := newLayout(t, "amd64")
			path := filepath.Join(w.dir, "blobs/sha256", filepath.Base(name))
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w.write(filepath.Join("blobs/sha256", filepath.Base(name)), change(data))
			if got, err := contents(w.dir, ""); err == nil {
				t.Errorf("%s was changed and read as %q", name, got)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, change := range map[string]func(w writer, index string) string{
		"version": func(w writer, index string) string {
			w.write("oci-layout", []byte(`{"imageLayoutVersion":"2"}`))
			return index
		},
		"digest":      func(w writer, index string) string { return strings.ReplaceAll(index, "sha256:", "sha256:../") },
		"algorithm":   func(w writer, index string) string { return strings.ReplaceAll(index, "sha256:", "sha512:") },
		"no digest":   func(w writer, index string) string { return strings.ReplaceAll(index, `"digest"`, `"d"`) },
		"media type":  func(w writer, index string) string { return strings.ReplaceAll(index, "manifest.v1", "manifest.v9") },
		"huge":        func(w writer, index string) string { return strings.ReplaceAll(index, `"size":`, `"size":99999999`) },
		"no JSON":     func(w writer, index string) string { return index[1:] },
		"no images":   func(w writer, index string) string { return `{"manifests":[]}` },
		"other image": func(w writer, index string) string { return strings.ReplaceAll(index, "amd64", "arm64") },
	} {
		w := newLayout(t, "amd64")
		index, err := os.ReadFile(filepath.Join(w.dir, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		w.write("index.json", []byte(change(w, string(index))))
		if _, err := Open(w.dir, "arm64"); err == nil {
			t.Errorf("%s: the layout was taken for arm64", name)
		}
		if _, err := Open(w.dir, ""); err == nil && name != "other image" {
			t.Errorf("%s: the layout was taken", name)
		}
	}
}

func TestLayerWithoutDigest(t *testing.T) {
	w := newLayout(t)
	config := w.blob(ociPrefix+"config.v1+json", []byte(`{"rootfs":{"diff_ids":[null]}}`))
	manifest := w.json(map[string]any{"config": config, "layers": []any{map[string]any{"mediaType": ociPrefix + "layer.v1.tar"}}})
	w.write("index.json", w.index(w.blob(ociPrefix+"manifest.v1+json", manifest)))
	if _, err := Open(w.dir, ""); err == nil {
		t.Error("the image was taken")
	}
}

func FuzzOpen(f *testing.F) {
	w := newLayout(f, "amd64")
	index, err := os.ReadFile(filepath.Join(w.dir, "index.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(index))
	f.Fuzz(func(t *testing.T, index string) {
		writer{t, w.dir}.write("index.json", []byte(index))
		if got, err := contents(w.dir, ""); err == nil && got != "amd64 on tw th" {
			t.Errorf("read %q", got)
		}
	})
}
