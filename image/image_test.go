// Package image_test checks the image as other people's tools see it.
package image_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/apko/lock"
	"github.com/ember-os/ember/tools/initrd"
	"github.com/ember-os/ember/tools/sbom"
)

func index(t *testing.T) v1.ImageIndex {
	t.Helper()
	index, err := layout.ImageIndexFromPath(vmtest.File(t, "IMAGE"))
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func TestLayoutIsValid(t *testing.T) {
	if err := validate.Index(index(t)); err != nil {
		t.Error(err)
	}
}

// TestRegistry pushes the image to a registry and pulls it from there.
func TestRegistry(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/ember:test")
	if err != nil {
		t.Fatal(err)
	}
	pushed := index(t)
	if err := remote.WriteIndex(ref, pushed); err != nil {
		t.Fatalf("pushing: %v", err)
	}
	pulled, err := remote.Index(ref)
	if err != nil {
		t.Fatalf("pulling: %v", err)
	}
	if err := validate.Index(pulled); err != nil {
		t.Errorf("what was pulled: %v", err)
	}
	want, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pulled.Digest(); got != want || err != nil {
		t.Errorf("pulled %v, %v, pushed %v", got, err, want)
	}
}

// TestLock fails if the image holds another package, or another version of one,
// than the lock, and so than a reader of it expects.
func TestLock(t *testing.T) {
	text, err := os.ReadFile(vmtest.File(t, "LOCK"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := initrd.Load(vmtest.File(t, "IMAGE"), "amd64")
	if err != nil {
		t.Fatal(err)
	}
	installed, err := initrd.Installed(tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Check(installed); err != nil {
		t.Error(err)
	}
}

// TestLicences fails if anything in the image, the kernel or a Go program has no
// declared licence, and if one of them is not in the document at all.
func TestLicences(t *testing.T) {
	text, err := os.ReadFile(vmtest.File(t, "SBOM"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := sbom.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := document.CheckLicences(); err != nil {
		t.Error(err)
	}
	for _, purl := range []string{
		"pkg:apk/ember/baselayout@", "pkg:apk/ember/busybox@", "pkg:apk/ember/ca-certificates@", "pkg:apk/ember/ember@",
		"pkg:generic/linux@6.12.", "pkg:deb/debian/grub-efi-amd64-bin@", "pkg:deb/debian/grub-pc-bin@", "pkg:deb/debian/systemd-boot-efi@",
		"pkg:golang/std@", "pkg:golang/golang.org/x/sys@",
		"pkg:golang/github.com/containerd/containerd/v2@", "pkg:golang/github.com/containerd/nerdctl/v2@",
		"pkg:golang/github.com/opencontainers/runc@", "pkg:golang/github.com/containernetworking/plugins@",
	} {
		if !strings.Contains(string(text), purl) {
			t.Errorf("the document does not name %s", purl)
		}
	}
}
