package release

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ember-os/ember/os/vm/vmtest"
)

func read(t *testing.T, elem ...string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// content is small files.
func content(t *testing.T) Content {
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("the "+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return Content{
		KernelRelease: "6.12.1-ember", Kernel: write("kernel"), Initrd: write("initrd"), UKI: write("UKI"), ISO: write("ISO"),
		Script: write("script"), Measurements: write("measurements"), SBOM: write("SBOM"), KernelConfig: write("configuration"),
	}
}

// unpack gives the names in a tar archive and what is in them, and looks at how they are there.
func unpack(t *testing.T, r io.Reader) (names []string, files map[string]string) {
	t.Helper()
	files = map[string]string{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if err == io.EOF {
			return names, files
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || h.Mode != 0o644 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 {
			t.Errorf("in the archive there is %+v", h)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		names, files[h.Name] = append(names, h.Name), string(b)
	}
}

// check looks at a folder as those do who serve and fetch it.
func check(t *testing.T, dir string, c Content) {
	t.Helper()
	suffix := "-" + c.KernelRelease + "-x86_64"
	sources := map[string]string{
		"boot.ipxe": c.Script, "config" + suffix: c.KernelConfig, "ember" + suffix + ".iso": c.ISO, "measurements.json": c.Measurements,
		"sbom.spdx.json": c.SBOM, "uki.efi": c.UKI, "vmlinuz-x86_64": c.Kernel, "vmlinuz" + suffix: c.Kernel,
		"initramfs-x86_64": c.Initrd, "initramfs" + suffix: c.Initrd,
	}
	var want []string
	sums := ""
	for name := range sources {
		want = append(want, name)
	}
	slices.Sort(want)
	for _, name := range want {
		published := read(t, dir, name)
		if !bytes.Equal(published, read(t, sources[name])) {
			t.Errorf("%s is something else", name)
		}
		sums += fmt.Sprintf("%x  %s\n", sha256.Sum256(published), name)
	}
	if got := string(read(t, dir, "sha256sums"+suffix+".txt")); got != sums {
		t.Errorf("the sums are\n%s, want\n%s", got, sums)
	}
	want = append(want, "sha256sums"+suffix+".txt")

	hook := read(t, dir, "hook_x86_64.tar.gz")
	if got, sum := string(read(t, dir, "checksum.txt")), fmt.Sprintf("%x  hook_x86_64.tar.gz\n", sha512.Sum512(hook)); got != sum {
		t.Errorf("the archive's sum is %q, want %q", got, sum)
	}
	z, err := gzip.NewReader(bytes.NewReader(hook))
	if err != nil {
		t.Fatal(err)
	}
	names, files := unpack(t, z)
	if !slices.Equal(names, []string{"vmlinuz-x86_64", "initramfs-x86_64"}) ||
		files[names[0]] != string(read(t, c.Kernel)) || files[names[1]] != string(read(t, c.Initrd)) {
		t.Errorf("the archive has %q, or something else in them", names)
	}

	checkImage(t, dir, want)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, "hook_x86_64.tar.gz", "checksum.txt", "oci")
	slices.Sort(want)
	if got := slices.Collect(func(yield func(string) bool) {
		for _, e := range entries {
			yield(e.Name())
		}
	}); !slices.Equal(got, want) {
		t.Errorf("the folder has\n%q, want\n%q", got, want)
	}
}

// checkImage looks for the files of the folder in the image, one in each layer.
func checkImage(t *testing.T, dir string, want []string) {
	t.Helper()
	outer, err := layout.ImageIndexFromPath(filepath.Join(dir, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(outer); err != nil {
		t.Error(err)
	}
	manifest, err := outer.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%d manifests, %v", len(manifest.Manifests), err)
	}
	index, err := outer.ImageIndex(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Platform.String() != "linux/amd64" {
		t.Fatalf("the index is %+v, %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Created.Unix() != 0 || config.OS != "linux" || config.Architecture != "amd64" {
		t.Errorf("the configuration is %+v, %v", config, err)
	}
	layers, err := image.Layers()
	if err != nil || len(layers) != len(want) {
		t.Fatalf("%d layers, %v; want %d", len(layers), err, len(want))
	}
	for i, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		names, files := unpack(t, r)
		if !slices.Equal(names, want[i:i+1]) || files[want[i]] != string(read(t, dir, want[i])) {
			t.Errorf("a layer has %q, want %q, or something else in it", names, want[i])
		}
	}
}

func TestWrite(t *testing.T) {
	c, dir := content(t), t.TempDir()
	if err := Write(dir, c); err != nil {
		t.Fatal(err)
	}
	check(t, dir, c)
	again := t.TempDir()
	if err := Write(again, c); err != nil {
		t.Fatal(err)
	}
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		if !bytes.Equal(read(t, path), read(t, again, strings.TrimPrefix(path, dir))) {
			t.Errorf("%s is another one the second time", path)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestWriteRefuses(t *testing.T) {
	for want, spoil := range map[string]func(dir string, c *Content){
		`"" is no release of a kernel`:    func(_ string, c *Content) { c.KernelRelease = "" },
		`"6/12" is no release`:            func(_ string, c *Content) { c.KernelRelease = "6/12" },
		"publishing uki.efi: ":            func(_ string, c *Content) { c.UKI += "absent" },
		"publishing initramfs-x86_64: ":   func(dir string, c *Content) { os.WriteFile(filepath.Join(dir, "initramfs-x86_64"), nil, 0o644) },
		"publishing hook_x86_64.tar.gz: ": func(dir string, c *Content) { os.Mkdir(filepath.Join(dir, "hook_x86_64.tar.gz"), 0o755) },
	} {
		c, dir := content(t), t.TempDir()
		spoil(dir, &c)
		if err := Write(dir, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestPublished looks at what this build is published as.
func TestPublished(t *testing.T) {
	check(t, vmtest.File(t, "PUBLISHED"), Content{
		KernelRelease: strings.TrimSpace(string(read(t, vmtest.File(t, "RELEASE")))),
		Kernel:        vmtest.File(t, "KERNEL"), Initrd: vmtest.File(t, "INITRD"), UKI: vmtest.File(t, "UKI"), ISO: vmtest.File(t, "ISO"),
		Script: vmtest.File(t, "SCRIPT"), Measurements: vmtest.File(t, "MEASUREMENTS"), SBOM: vmtest.File(t, "SBOM"), KernelConfig: vmtest.File(t, "CONFIG"),
	})
}
