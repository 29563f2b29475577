package lock

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/apk"
	"github.com/ember-os/ember/tools/initrd"
)

func newKey(t *testing.T, name string) *apk.Key {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
	key, err := apk.ParseKey(name, pem.EncodeToMemory(&block))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// pack makes a package that holds usr/share/<name>.
func pack(t *testing.T, key *apk.Key, name, version string, depends ...string) []byte {
	t.Helper()
	source := filepath.Join(t.TempDir(), name)
	write(t, source, []byte(name+version))
	spec := apk.Spec{
		Info:     apk.Info{Name: name, Version: version, Arch: "x86_64", License: "MIT", Depends: depends},
		Contents: []apk.Content{{Type: "file", Path: "usr/share/" + name, Source: source}},
	}
	var b bytes.Buffer
	if err := apk.Build(&b, &spec, key, time.Unix(0, 0).UTC()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// repository makes one in a directory and gives the path of its public key.
func repository(t *testing.T, dir, keyName string, key *apk.Key, files ...[]byte) string {
	t.Helper()
	var packages []*apk.Package
	for _, data := range files {
		p, err := apk.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
		write(t, filepath.Join(dir, "x86_64", p.FileName()), data)
	}
	var index bytes.Buffer
	if err := apk.WriteIndex(&index, "", packages, key); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "x86_64", "APKINDEX.tar.gz"), index.Bytes())
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, keyName), public)
	return filepath.Join(dir, keyName)
}

// world is a repository of ours, one on the network, and a configuration of both.
type world struct {
	dir      string
	server   *httptest.Server
	handler  atomic.Pointer[http.Handler]
	resolver Resolver
	config   string
}

func newWorld(t *testing.T) *world {
	w := &world{dir: t.TempDir()}
	ours, theirs := newKey(t, "ours.rsa.pub"), newKey(t, "theirs.rsa.pub")
	w.resolver = Resolver{Apko: vmtest.File(t, "APKO"), Repository: filepath.Join(w.dir, "ours")}
	w.resolver.Key = repository(t, w.resolver.Repository, "ours.rsa.pub", ours, pack(t, ours, "local", "1.0-r0"))
	public := filepath.Join(w.dir, "os")
	repository(t, public, "theirs.rsa.pub", theirs,
		pack(t, theirs, "remote", "2.0-r1", "library"), pack(t, theirs, "library", "3.1-r0"),
		pack(t, theirs, "library", "3.0-r0"), pack(t, theirs, "unwanted", "1-r0"))
	w.handle(http.FileServer(http.Dir(w.dir)))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		(*w.handler.Load()).ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	w.config = filepath.Join(w.dir, "apko.yaml")
	write(t, w.config, fmt.Appendf(nil, `contents:
  repositories: ["@public %[1]s/os"]
  keyring: ["%[1]s/os/theirs.rsa.pub"]
  packages: [local, remote@public]
archs: [x86_64]
cmd: /init
`, w.server.URL))
	t.Setenv("HOME", w.dir)
	return w
}

func (w *world) handle(h http.Handler) { w.handler.Store(&h) }

// swap serves other bytes for a file of the public repository from the second
// request on, when apko has read and verified the first.
func (w *world) swap(name string, data []byte) {
	files, requests := *w.handler.Load(), 0
	w.handle(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && path.Base(r.URL.Path) == name {
			if requests++; requests > 1 {
				rw.Write(data)
				return
			}
		}
		files.ServeHTTP(rw, r)
	}))
}

func (w *world) resolve(t *testing.T) (*Lock, error) {
	return w.resolver.Resolve(t.Context(), w.config)
}

func TestResolve(t *testing.T) {
	w := newWorld(t)
	l, err := w.resolve(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range l.Contents.Packages {
		got = append(got, fmt.Sprintf("%s %s %s", p.Name, p.Version, strings.TrimPrefix(p.URL, w.server.URL)))
	}
	want := "library 3.1-r0 /os/x86_64/library-3.1-r0.apk\nlocal 1.0-r0 \nremote 2.0-r1 /os/x86_64/remote-2.0-r1.apk"
	if strings.Join(got, "\n") != want {
		t.Errorf("the lock holds\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if len(l.Contents.Keyring) != 1 || !strings.HasSuffix(l.Contents.Keyring[0].Name, "/os/theirs.rsa.pub") {
		t.Errorf("the keyring is %+v", l.Contents.Keyring)
	}
	again, err := w.resolve(t)
	if err != nil {
		t.Fatal(err)
	}
	if lines := Changes(l, again); lines != nil {
		t.Errorf("a second time gave other results: %q", lines)
	}
}

// TestBuild goes the whole way of a public package: locked, fetched by its hash,
// indexed with our key, and composed with a package of ours without network.
func TestBuild(t *testing.T) {
	w := newWorld(t)
	l, err := w.resolve(t)
	if err != nil {
		t.Fatal(err)
	}
	var fetched [][]byte
	for _, p := range l.Contents.Packages {
		if p.URL == "" {
			continue
		}
		response, err := http.Get(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != p.SHA256 {
			t.Errorf("%s has hash %s where the lock says %s", p.URL, sum, p.SHA256)
		}
		fetched = append(fetched, data)
	}
	w.server.Close()
	public := filepath.Join(w.dir, "public")
	publicKey := repository(t, public, "again.rsa.pub", newKey(t, "again.rsa.pub"), fetched...)

	config, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.CheckConfig(config); err != nil {
		t.Fatal(err)
	}
	if config, err = Offline(config); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(w.dir, "offline.yaml"), config)
	layout := filepath.Join(w.dir, "layout")
	if err := os.Mkdir(layout, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), w.resolver.Apko, "build", filepath.Join(w.dir, "offline.yaml"), "test:latest", layout,
		"--arch=x86_64", "--sbom=false", "--vcs=false",
		"--keyring-append="+w.resolver.Key, "--keyring-append="+publicKey,
		"--repository-append="+w.resolver.Repository, "--repository-append="+public)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tree, err := initrd.Load(layout, "amd64")
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
	for name, want := range map[string]string{"local": "local1.0-r0", "remote": "remote2.0-r1", "library": "library3.1-r0"} {
		if file, ok := tree.File("usr/share/" + name); !ok || string(file.Data) != want {
			t.Errorf("usr/share/%s: %v, %+v", name, ok, file)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(t *testing.T, w *world)
		want  string
	}{
		"data changed after apko read them": {func(t *testing.T, w *world) {
			data, err := os.ReadFile(filepath.Join(w.dir, "os/x86_64/remote-2.0-r1.apk"))
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)-12] ^= 1
			w.swap("remote-2.0-r1.apk", data)
		}, "remote-2.0-r1.apk: reading package remote: its data has hash"},
		"another package after apko read it": {func(t *testing.T, w *world) {
			w.swap("remote-2.0-r1.apk", pack(t, newKey(t, "theirs.rsa.pub"), "remote", "2.0-r1"))
		}, "where the repository's index says"},
		"another package": {func(t *testing.T, w *world) {
			other := pack(t, newKey(t, "theirs.rsa.pub"), "remote", "2.0-r1")
			write(t, filepath.Join(w.dir, "os/x86_64/remote-2.0-r1.apk"), other)
		}, "control hash mismatch"},
		"index signed with another key": {func(t *testing.T, w *world) {
			key := newKey(t, "theirs.rsa.pub")
			repository(t, filepath.Join(w.dir, "forged"), "theirs.rsa.pub", key, pack(t, key, "remote", "9-r0"))
			if err := os.Rename(filepath.Join(w.dir, "forged/x86_64/APKINDEX.tar.gz"), filepath.Join(w.dir, "os/x86_64/APKINDEX.tar.gz")); err != nil {
				t.Fatal(err)
			}
		}, "signature verification failed"},
		"no such package": {func(t *testing.T, w *world) {
			write(t, w.config, []byte("contents:\n  packages: [local, nowhere]\n"))
		}, "nowhere"},
		"repository on this machine": {func(t *testing.T, w *world) {
			write(t, w.config, fmt.Appendf(nil, "contents:\n  repositories: [%[1]s/os]\n  keyring: [%[1]s/os/theirs.rsa.pub]\n  packages: [remote]\n", w.dir))
		}, "name repositories by http or https"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.spoil(t, w)
			if l, err := w.resolve(t); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v, %v; want an error with %q", l, err, test.want)
			}
		})
	}
}
