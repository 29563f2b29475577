package fetch

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

func TestNoContainerd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "no.sock")
	_, _, _, err := connect(t.Context(), 10*time.Millisecond, socket, "tinkerbell", "x/y")
	if text := sentence("x/y", err); !strings.HasPrefix(text, "containerd does not answer at "+socket+": see") {
		t.Errorf("%q", text)
	}
}

// TestContainerd has everything together with the containerd that CONTAINERD names, which Bazel sets.
func TestContainerd(t *testing.T) {
	socket := startContainerd(t)
	s := newShelf(t, (*httptest.Server).Start)
	s.push("latest", s.image(strings.Repeat("x", 1<<20)))
	out := filepath.Join(t.TempDir(), "out")
	fetch := func() (status int, stdout, stderr string) {
		var o, e bytes.Buffer
		args := []string{"--socket", socket, "--hosts", s.hosts, "--out", out, s.ref("latest"), "/none", "/tink-agent"}
		status = run(t.Context(), args, &o, &e)
		return status, o.String(), e.String()
	}
	s.instead(func(w http.ResponseWriter, r *http.Request) { // after the documents the registry dies
		if strings.Contains(r.URL.Path, "/blobs/") {
			panic(http.ErrAbortHandler)
		}
		s.registry.ServeHTTP(w, r)
	})
	status, _, stderr := fetch()
	if status != 1 || !strings.HasPrefix(stderr, "<3>the registry "+s.host+" broke off") || contents(t, socket) == 0 {
		t.Errorf("%d, %q, %d contents left", status, stderr, contents(t, socket))
	}
	s.instead(s.registry.ServeHTTP)
	status, stdout, stderr := fetch()
	if status != 0 || !strings.Contains(stdout, `"path":"/tink-agent"`) {
		t.Errorf("%d, %q, %q", status, stdout, stderr)
	}
	if info, err := os.Stat(out); err != nil || info.Size() != 1<<20+64 {
		t.Errorf("%v, %v", info, err)
	}
	// containerd collects what no lease holds in its own time.
	for end := time.Now().Add(time.Minute); contents(t, socket) != 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d contents are left", contents(t, socket))
		}
	}
}

func startContainerd(t *testing.T) (socket string) {
	path := os.Getenv("CONTAINERD")
	if path == "" {
		t.Skip("CONTAINERD is not set: Bazel sets it")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "ctrd") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket = filepath.Join(dir, "sock")
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 3\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.nri.v1.nri\"]\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n",
		dir+"/root", dir+"/state", socket, socket+".ttrpc")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "containerd") // one of several in a file: its name says which
	if err := os.Symlink(path, program); err != nil {
		t.Fatal(err)
	}
	// containerd makes a directory in /run, wherever its own are.
	cmd := exec.Command("/bin/sh", "-c", `mount -t tmpfs run /run && exec "$0" --config "$1"`, program, config)
	cmd.SysProcAttr = &syscall.SysProcAttr{ // root, for itself
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Logf("%s", &log)
		}
	})
	for {
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
		select {
		case <-ended:
			t.Fatal("containerd does not come up")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// contents counts what containerd stores.
func contents(t *testing.T, socket string) (n int) {
	t.Helper()
	c, err := client.New(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.ContentStore().Walk(namespaces.WithNamespace(t.Context(), "tinkerbell"), func(content.Info) error {
		n++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return n
}
