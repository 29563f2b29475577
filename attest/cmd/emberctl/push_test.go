package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestPush(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	dir, s := workplace(t)
	s.version = 7
	sealed(t, dir, s)
	folder := dir + "/rack"
	if err := push(t.Context(), io.Discard, folder, host+"/overlays/rack", true); err != nil {
		t.Fatal(err)
	}
	r, err := (&inspection{}).inspect(folder)
	if err != nil {
		t.Fatal(err)
	}
	// Whoever knows the manifest can fetch the ciphertext as a file.
	response, err := http.Get(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(folder + "/overlay.age"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s gives %d bytes, %v", r.URL, len(got), err)
	}
	ref, err := name.ParseReference(host+"/overlays/rack:7", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := manifest.Peek(signed); err != nil || !reflect.DeepEqual(m, r.Manifest) {
		t.Errorf("its config is %+v, %v", m, err)
	}
	if err := push(t.Context(), io.Discard, folder, "rack", true); err == nil {
		t.Error("a repository without a registry is taken")
	}
	if err := os.WriteFile(folder+"/overlay.age", got[1:], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := push(t.Context(), io.Discard, folder, host+"/overlays/rack", true); err == nil {
		t.Error("another ciphertext is pushed")
	}
}
