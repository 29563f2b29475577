package bazelw

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestChoice(t *testing.T) {
	t.Parallel()
	const bazelisk = `echo "bazelisk $*"; exit 7`
	const right = `[[ $1 == --version ]] && echo "bazel 7.7.1" || { echo "bazel $*"; exit 8; }`
	const other = `[[ $1 == --version ]] && echo "bazel 8.0.0" || { echo "other bazel"; exit 9; }`
	for _, c := range []struct {
		name, bazelisk, bazel, env, want string
		status                           int
	}{
		{"bazelisk", bazelisk, right, "", "bazelisk build a b\n", 7},
		{"bazel", "", right, "", "bazel build a b\n", 8},
		{"other", "", other, "", "private", 1},
		{"none", "", "", "", "private", 1},
		{"overridden", bazelisk, right, "EMBER_BAZELW=private", "private", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.write(filepath.Join(m.workspace, "tools/bazelw/private.sh"), "#!/bin/bash\nprintf private; exit 1\n", 0o755)
			if c.bazelisk != "" {
				m.tool("bazelisk", c.bazelisk)
			}
			if c.bazel != "" {
				m.tool("bazel", c.bazel)
			}
			m.env = append(m.env, c.env)
			if status, out, stderr := m.run("bazelw", "build", "a b"); out != c.want || status != c.status || stderr != "" {
				t.Errorf("%q, exit status %d, %s", out, status, stderr)
			}
		})
	}
}

func downloaded(t *testing.T) *machine {
	m := newMachine(t)
	m.distribution()
	m.downloader("curl")
	return m
}

func (m *machine) cache() string { return filepath.Join(m.dir, "home/.cache/ember") }

// bazel runs the launcher and checks that Bazel is started with its settings
// and the given arguments, and its exit status passed on.
func (m *machine) bazel() (stderr string) {
	m.t.Helper()
	status, out, stderr := m.run("bazelw", "run", "//a b:c", "--", "*")
	base, _ := filepath.Glob(m.cache() + "/bazel-*")
	if len(base) == 0 {
		m.t.Fatalf("no root was made:\n%s", stderr)
	}
	modules, _ := filepath.Glob(base[len(base)-1] + "/modules-*")
	start := fmt.Sprintf(`["--bazelrc=%s/bazelrc" "--host_jvm_args=-Dember.root=`, strings.Join(modules, " "))
	if status != 7 || !strings.HasPrefix(out, start) || !strings.HasSuffix(out, ` "run" "//a b:c" "--" "*"]`+"\n") {
		m.t.Errorf("exit status %d, %s%s", status, out, stderr)
	}
	settings, err := os.ReadFile(filepath.Join(modules[0], "bazelrc"))
	if want := `common --override_module=m="` + modules[0] + `/m"` + "\n"; string(settings) != want {
		m.t.Errorf("settings %q, %v", settings, err)
	}
	script, err := os.Stat(filepath.Join(modules[0], "m/run.sh"))
	m.check(err)
	if script.Mode().Perm() != 0o755 {
		m.t.Errorf("the module's script has mode %v", script.Mode())
	}
	for _, left := range []string{"tmp", "debs"} {
		if _, err := os.Stat(filepath.Join(m.cache(), left)); err == nil {
			m.t.Errorf("%s is left over", left)
		}
	}
	return stderr
}

func TestPrivate(t *testing.T) {
	t.Parallel()
	m := downloaded(t)
	m.bazel()
	if stderr := m.bazel(); stderr != "" {
		t.Errorf("the second start says %s", stderr)
	}
	for path, n := range m.asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
}

func TestTogether(t *testing.T) {
	t.Parallel()
	m := downloaded(t)
	m.hold = make(chan struct{})
	const programs, waits = 3, "waiting for another bazelw"
	reader, writer := io.Pipe()
	ended := make(chan error)
	for range programs {
		c := m.command("bazelw", "info")
		c.Stderr = writer
		go func() { ended <- c.Run() }()
	}
	var all strings.Builder
	read := make(chan struct{})
	go func() { // The download is held until the others say that they wait.
		defer close(read)
		waiting := 0
		for lines := bufio.NewScanner(reader); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if strings.Contains(lines.Text(), waits) {
				if waiting++; waiting == programs-1 {
					close(m.hold)
				}
			}
		}
	}()
	for range programs {
		if err := <-ended; err == nil || err.Error() != "exit status 7" {
			t.Error(err)
		}
	}
	writer.Close()
	<-read
	for text, want := range map[string]int{"making a private root": 1, waits: programs - 1} {
		if n := strings.Count(all.String(), text); n != want {
			t.Errorf("%d say %q, wanted %d:\n%s", n, text, want, all.String())
		}
	}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	m := downloaded(t)
	m.hold = make(chan struct{})
	c := m.command("bazelw", "info")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	progress, err := c.StderrPipe()
	m.check(err)
	m.check(c.Start())
	var said []byte
	for !bytes.Contains(said, []byte("fetching 2 Debian packages")) {
		b := make([]byte, 100)
		n, err := progress.Read(b)
		if said = append(said, b[:n]...); err != nil {
			t.Fatalf("%v after %s", err, said)
		}
	}
	m.check(syscall.Kill(-c.Process.Pid, syscall.SIGKILL))
	io.Copy(io.Discard, progress)
	c.Wait()
	m.write(filepath.Join(m.cache(), "debs/half.part"), "half", 0o644)
	m.write(filepath.Join(m.cache(), "tmp/root/usr/half"), "half", 0o644)
	close(m.hold)
	m.bazel()
	if half, _ := filepath.Glob(m.cache() + "/bazel-*/root/usr/half"); half != nil {
		t.Error("what the killed run left is in the root")
	}
}

func TestOldRoots(t *testing.T) {
	t.Parallel()
	m := downloaded(t)
	unused, used := filepath.Join(m.cache(), "bazel-0"), filepath.Join(m.cache(), "bazel-1")
	for _, old := range []string{unused, used} {
		m.write(filepath.Join(old, "lock"), "", 0o644)
	}
	lock, err := os.Open(filepath.Join(used, "lock"))
	m.check(err)
	defer lock.Close()
	m.check(syscall.Flock(int(lock.Fd()), syscall.LOCK_SH))
	m.bazel()
	if _, err := os.Stat(unused); err == nil {
		t.Error("a root that nothing uses was kept")
	}
	if _, err := os.Stat(used); err != nil {
		t.Error("a root that is in use was removed")
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	env := func(settings ...string) func(*machine) {
		return func(m *machine) { m.env = append(m.env, settings...) }
	}
	shm, err := os.MkdirTemp("/dev/shm", "ember-bazelw-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	for _, c := range []struct {
		name, sentence string
		change         func(*machine)
	}{
		{"no home", "HOME is not set", env("HOME=")},
		{"no cache", "cannot write /proc/ember: set EMBER_CACHE", env("EMBER_CACHE=/proc/ember")},
		{"hidden cache", "but /dev is not the host's in the private root", env("EMBER_CACHE=" + shm)},
		{"other letters", "but Bazel knows only ASCII names", env("EMBER_CACHE=" + t.TempDir() + "/ü")},
		{"no mirror", "neither apt's sources nor EMBER_DEBIAN_MIRROR name a Debian mirror", env("EMBER_DEBIAN_MIRROR=")},
		{"no module proxy", "GOPROXY is 'off'", env("GOPROXY=off")},
		{"no unshare", "install util-linux", func(m *machine) { m.check(os.Remove(m.dir + "/bin/unshare")) }},
		{"no namespaces", "this machine refuses user namespaces", func(m *machine) {
			m.check(os.Remove(m.dir + "/bin/unshare"))
			m.tool("unshare", "echo unshare: Operation not permitted >&2; exit 1")
		}},
		{"no room", "MB in", func(m *machine) {
			m.check(os.Remove(m.dir + "/bin/df"))
			m.tool("df", "echo Avail; echo 500")
		}},
		{"other machine", "and this is Linux aarch64", func(m *machine) {
			m.check(os.Remove(m.dir + "/bin/uname"))
			m.tool("uname", "echo Linux aarch64")
		}},
		{"Bazel 8", "the mirror has only 8.1 left", func(m *machine) {
			m.write(m.workspace+"/tools/debian/bazel.lock", m.deb("bazel-bootstrap", "8.1", nil), 0o644)
		}},
		{"no certificates", "holds no certificates: set SSL_CERT_FILE", func(m *machine) {
			m.write(m.dir+"/bundle", "none", 0o644)
			m.env = append(m.env, "SSL_CERT_FILE="+m.dir+"/bundle")
		}},
		{"module gone", "failed: curl: (22) The requested URL returned error: 404; check GOPROXY", func(m *machine) {
			delete(m.files, "/go/example.org/m/@v/v1.0.0.zip")
		}},
		{"module with other bytes", "example.org/m v1.0.0 from the Go module proxy does not have the hash", func(m *machine) {
			m.files["/go/example.org/m/@v/v1.0.0.zip"] = []byte("other")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := downloaded(t)
			c.change(m)
			m.refused(c.sentence, "bazelw", "info")
			if bases, _ := filepath.Glob(m.cache() + "/bazel-*/modules-*"); bases != nil {
				t.Error("modules were made")
			}
		})
	}
}

func TestProxyOfDebiansGo(t *testing.T) {
	t.Parallel()
	m := downloaded(t)
	m.env = append(m.env, "GOPROXY=")
	m.refused("from the Go module proxy failed: ", "bazelw", "info")
	if text, err := os.ReadFile(m.cache() + "/goproxy"); string(text) != "https://proxy.invalid,direct\n" {
		t.Errorf("%q, %v", text, err)
	}
}
