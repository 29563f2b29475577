package images

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/ember-os/ember/os/vm/vmtest"
)

func build(t *testing.T, i Image) v1.Image {
	t.Helper()
	image, err := i.Build()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Fatal(err)
	}
	return image
}

// files are the files that a container of the image has, with what is in them.
func files(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	r := mutate.Extract(image)
	defer r.Close()
	found := map[string]string{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			found[h.Name] = string(b)
		}
	}
}

func TestAgents(t *testing.T) {
	program := []byte("\x7fELF\x02\x01\x01 the agent of another time")
	got := files(t, build(t, Agent(program, AgentPath)))
	if len(got) != 1 || got[AgentPath] != string(program) {
		t.Errorf("the image has %v", got)
	}
	got = files(t, build(t, Replaced(program)))
	if len(got) != 1 || got["usr/bin/tink-agent"] != string(program) {
		t.Errorf("the image with a replaced agent has %v", got)
	}
	entrypoint := build(t, EntrypointOnly(program))
	config, err := entrypoint.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(config.Config.Entrypoint[0], "/")
	if path == AgentPath || files(t, entrypoint)[path] != string(program) {
		t.Errorf("the agent is at %s", path)
	}
	config, err = build(t, WrongArchitecture(program)).ConfigFile()
	if err != nil || config.Architecture != "arm64" {
		t.Errorf("an image for the wrong architecture is for %+v, %v", config, err)
	}
	if program[18] == 183 {
		t.Error("the program was changed in place")
	}
}

func TestSameTwice(t *testing.T) {
	var digests [2]v1.Hash
	for i := range digests {
		index, err := Index(Agent([]byte("agent"), AgentPath), WrongArchitecture([]byte("agent")))
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		if digests[i], err = index.Digest(); err != nil {
			t.Fatal(err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the digests differ: %v", digests)
	}
}

func TestArtifact(t *testing.T) {
	artifact, err := Artifact()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := artifact.Manifest()
	if err != nil || manifest.Config.MediaType.IsConfig() || manifest.Layers[0].MediaType.IsLayer() {
		t.Errorf("the artefact looks like an image: %+v, %v", manifest, err)
	}
}

// TestActions runs the actions' scripts outside of a container.
func TestActions(t *testing.T) {
	busybox, err := os.ReadFile(vmtest.File(t, "BUSYBOX"))
	if err != nil {
		t.Fatal(err)
	}
	shell := filepath.Join(t.TempDir(), "busybox")
	if err := os.WriteFile(shell, busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	applets, err := exec.CommandContext(t.Context(), shell, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"dd", "head", "nsenter", "sh", "sleep", "wget", "yes"} {
		if !slices.Contains(strings.Fields(string(applets)), name) {
			t.Errorf("busybox has no %s", name)
		}
	}
	for _, name := range ActionNames() {
		build(t, Action(busybox, name))
	}
	run := func(action string, env ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), shell, "sh", "-c", actions[action])
		cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(Say, "TEXT=something"); err != nil || out != "something\n" {
		t.Errorf("say: %q, %v", out, err)
	}
	var exit *exec.ExitError
	if out, err := run(Fail); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("fail: %q, %v", out, err)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	if out, err := run(WriteDisk, "DEST_DISK="+disk); err == nil {
		t.Errorf("without a disk: %q", out)
	}
	const size, written = 300_000, 200_000
	if err := os.WriteFile(disk, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := run(WriteDisk, "DEST_DISK="+disk, "BYTES=200000"); err != nil {
		t.Fatalf("writing a disk: %v: %s", err, out)
	}
	got, err := os.ReadFile(disk)
	if err != nil || len(got) != size || !bytes.Equal(got[:written], Pattern(written)) || !bytes.Equal(got[written:], make([]byte, size-written)) {
		t.Errorf("the disk has %q and so on, %v", got[:min(50, len(got))], err)
	}
}
