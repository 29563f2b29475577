package bazelw

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hostTools is all that a machine needs beside bash, and apt or curl.
var hostTools = strings.Fields(`basename cat chmod cp csplit cut dd df dirname du env flock grep gzip head id
	ln mkdir mv paste rm sed sha256sum sleep sort stat tail tar touch uname wc xargs`)

// machine is a workspace, a cache and a home with the launcher, a PATH of its
// own, and a server that is Debian mirror and Go module proxy.
type machine struct {
	t              *testing.T
	dir, workspace string
	env            []string

	mu    sync.Mutex
	files map[string][]byte // by the URL's path
	asked map[string]int
	hold  chan struct{} // if set, packages are sent when it is closed
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), files: map[string][]byte{}, asked: map[string]int{}}
	m.workspace = filepath.Join(m.dir, "a workspace")
	server := httptest.NewServer(m)
	t.Cleanup(server.Close)
	for _, name := range []string{"bazelw", "tools/bazelw/private.sh", "tools/bazelw/enter.sh", "tools/debian/debian.sh"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		m.check(err)
		m.write(filepath.Join(m.workspace, name), string(text), 0o755)
	}
	m.write(filepath.Join(m.workspace, ".bazelversion"), "7.7.1\n", 0o644)
	m.write(filepath.Join(m.workspace, "tools/bazelw/modules.bazelrc"), "common --override_module=m=\"@MODULES@/m\"\n", 0o644)
	for _, tool := range hostTools {
		path, err := exec.LookPath(tool)
		m.check(err)
		m.check(os.MkdirAll(filepath.Join(m.dir, "bin"), 0o755))
		m.check(os.Symlink(path, filepath.Join(m.dir, "bin", tool)))
	}
	m.write(filepath.Join(m.dir, "apt.conf"), `Acquire::Retries "0";`, 0o644)
	self, err := os.Executable()
	m.check(err)
	m.check(os.Symlink(self, filepath.Join(m.dir, "bin/unshare")))
	m.env = []string{
		"PATH=" + filepath.Join(m.dir, "bin"), "HOME=" + filepath.Join(m.dir, "home"),
		"EMBER_DEBIAN_MIRROR=" + server.URL + "/debian", "GOPROXY=" + server.URL + "/go,direct",
		"no_proxy=127.0.0.1", "APT_CONFIG=" + filepath.Join(m.dir, "apt.conf"),
	}
	return m
}

func (m *machine) check(err error) {
	if err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
}

func (m *machine) write(path, text string, mode os.FileMode) {
	m.t.Helper()
	m.check(os.MkdirAll(filepath.Dir(path), 0o755))
	m.check(os.WriteFile(path, []byte(text), mode))
}

// tool puts a shell script on the machine's PATH.
func (m *machine) tool(name, script string) {
	m.t.Helper()
	m.write(filepath.Join(m.dir, "bin", name), "#!/bin/bash\n"+script+"\n", 0o755)
}

// downloader puts apt or curl on the machine's PATH; the two differ in what
// they say of errors.
func (m *machine) downloader(name string) {
	m.t.Helper()
	switch name {
	case "apt":
		if _, err := os.Stat("/usr/lib/apt/apt-helper"); err != nil {
			m.t.Skip("this machine has no apt")
		}
		m.tool("apt-get", "exit 1")
	case "curl":
		path, err := exec.LookPath("curl")
		if err != nil {
			m.t.Skip("this machine has no curl")
		}
		m.check(os.Symlink(path, filepath.Join(m.dir, "bin/curl")))
	}
}

// ServeHTTP serves m.files; of one that starts with "short:" the last bytes are
// announced but not sent.
func (m *machine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	data, ok := m.files[r.URL.Path]
	m.asked[r.URL.Path]++
	hold := m.hold
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	if short, ok := bytes.CutPrefix(data, []byte("short:")); ok {
		w.Header().Set("Content-Length", fmt.Sprint(len(short)))
		data = short[:len(short)/2]
	}
	w.Write(data)
}

// deb makes a Debian package of files, puts it on the mirror and returns its
// line in a lock.
func (m *machine) deb(name, version string, files map[string]string) string {
	m.t.Helper()
	data := deb(name, version, files)
	path := fmt.Sprintf("pool/%s_%s_all.deb", name, version)
	m.files["/debian/"+path] = data
	return fmt.Sprintf("deb %s %s debian %s %d %x\n", name, version, path, len(data), sha256.Sum256(data))
}

func deb(name, version string, files map[string]string) []byte {
	archive := bytes.NewBufferString("!<arch>\n")
	for _, member := range []struct {
		name string
		data []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", tarball(map[string]string{"control": "Package: " + name + "\nVersion: " + version + "\n"})},
		{"data.tar.gz", tarball(files)},
	} {
		fmt.Fprintf(archive, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", member.name, 0, 0, 0, "100644", len(member.data))
		archive.Write(member.data)
		if len(member.data)%2 == 1 {
			archive.WriteByte('\n')
		}
	}
	return archive.Bytes()
}

// tarball makes a gzipped archive; a text that starts with -> is a symbolic
// link's target.
func tarball(files map[string]string) []byte {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	for name, text := range files {
		h := &tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(text))}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			h.Typeflag, h.Linkname, h.Size, text = tar.TypeSymlink, target, 0, ""
		}
		w.WriteHeader(h)
		io.WriteString(w, text)
	}
	w.Close()
	z.Close()
	return packed.Bytes()
}

// distribution fills the mirrors with a root and a module, and writes their locks.
func (m *machine) distribution() {
	m.t.Helper()
	program := make([]byte, 1<<20) // more than a pipe holds, also compressed
	rand.NewChaCha8([32]byte{}).Read(program)
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("some authority")}))
	m.write(filepath.Join(m.workspace, "tools/debian/bazel.lock"), "suite forky\n"+
		m.deb("bazel-bootstrap", "7.7.1+ds-8", map[string]string{"usr/bin/bazel": string(program)})+
		m.deb("ca-certificates", "1", map[string]string{"usr/share/ca-certificates/mozilla/a.crt": certificate}), 0o644)
	m.write(filepath.Join(m.workspace, "tools/debian/goproxy.lock"), "suite forky\n"+
		m.deb("golang", "1", map[string]string{"usr/lib/go/go.env": "GOPROXY=https://proxy.invalid,direct\n"}), 0o644)
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	f, err := w.Create("example.org/m@v1.0.0/run.sh")
	m.check(err)
	io.WriteString(f, "#!/bin/sh\n")
	m.check(w.Close())
	m.files["/go/example.org/m/@v/v1.0.0.zip"] = archive.Bytes()
	m.write(filepath.Join(m.workspace, "tools/bazelw/modules.txt"),
		fmt.Sprintf("# module\nm example.org/m v1.0.0 %x\n", sha256.Sum256(archive.Bytes())), 0o644)
}

// command is a script of the workspace, in the workspace.
func (m *machine) command(script string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(m.workspace, script), args...)
	c.Dir, c.Env = m.workspace, m.env
	return c
}

// run runs a script and returns its exit status, output and error output.
func (m *machine) run(script string, args ...string) (int, string, string) {
	m.t.Helper()
	var stdout, stderr bytes.Buffer
	c := m.command(script, args...)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil && c.ProcessState == nil {
		m.t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// refused runs a script that must end with one sentence.
func (m *machine) refused(sentence, script string, args ...string) {
	m.t.Helper()
	status, stdout, stderr := m.run(script, args...)
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(stderr), "\n"), func(line string) bool {
		return strings.Contains(line, ": fetching ") || strings.Contains(line, ": asking ") || strings.Contains(line, ": making a private root") || strings.Contains(line, ": unpacking them")
	})
	if status != 1 || stdout != "" || len(lines) != 1 || !strings.Contains(lines[0], sentence) {
		m.t.Errorf("%s: exit status %d, output %q, errors\n%s\nwanted one line with\n%s", script, status, stdout, stderr, sentence)
	}
}

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "unshare" {
		if err := unshare(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// unshare stands in for util-linux's: it grants every namespace and does what
// the programs of the private root would do.
func unshare(args []string) error {
	at := slices.IndexFunc(args, func(arg string) bool { return filepath.Base(arg) == "enter.sh" })
	if at < 0 {
		return nil // a probe
	}
	const root, trust, dir, program = 1, 2, 6, 9
	args = args[at:]
	rest := args[program+1:]
	if err := os.Chdir(args[dir]); err != nil {
		return err
	}
	switch filepath.Base(args[program]) {
	case "java":
		certificates, err := io.ReadAll(os.Stdin)
		if err != nil {
			return err
		}
		for _, line := range strings.Fields(string(certificates)) {
			if _, err := os.Stat(strings.TrimPrefix(line, "+")); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(args[trust], "java/cacerts"), certificates, 0o644)
	case "curl":
		response, err := http.Get(rest[len(rest)-1])
		if err != nil {
			return err
		}
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("curl: (22) The requested URL returned error: %d", response.StatusCode)
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		return os.WriteFile(rest[slices.Index(rest, "-o")+1], data, 0o644)
	case "unzip":
		r, err := zip.OpenReader("zip")
		if err != nil {
			return err
		}
		return os.CopyFS("unzipped", r)
	case "env":
		if _, err := os.Stat(filepath.Join(args[root], "usr/bin/bazel")); err != nil {
			return err
		}
		fmt.Printf("%q\n", rest[slices.Index(rest, "bazel")+1:])
		os.Exit(7)
	}
	return fmt.Errorf("unexpected %q", args)
}
