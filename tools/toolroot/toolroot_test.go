package toolroot

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The tests need no Debian: their tool root holds nothing but this program,
// which is a command inside it, told by its first argument what to do.
func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 2 && os.Args[1] == "helper" {
		os.Exit(helper(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

func helper(name string, args []string) int {
	check := func(err error) {
		if err != nil {
			fmt.Println(err)
		}
	}
	switch name {
	case "exit":
		return 7
	case "kill":
		check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "env":
		env := os.Environ()
		slices.Sort(env)
		umask := syscall.Umask(0)
		dir, err := os.Getwd()
		check(err)
		host, err := os.Hostname()
		check(err)
		fmt.Printf("%q\n%d:%d %03o %s %s\n", env, os.Getuid(), os.Getgid(), umask, dir, host)
	case "ls":
		entries, err := os.ReadDir(args[0])
		check(err)
		for _, e := range entries {
			fmt.Println(e.Type(), e.Name())
		}
	case "cat":
		b, err := os.ReadFile(args[0])
		check(err)
		os.Stdout.Write(b)
	case "write":
		check(os.WriteFile(args[0], []byte("written"), 0o666))
	case "echo":
		_, err := io.Copy(os.Stdout, os.Stdin)
		check(err)
	case "signal":
		relay := newRelay()
		fmt.Println("ready")
		fmt.Println(<-relay)
	case "connect": // to 127.0.0.1 and to a documentation address
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
		check(err)
		check(syscall.Connect(fd, &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}))
		check(syscall.Connect(fd, &syscall.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 1}}))
	case "orphan": // leaves a child behind that holds stdout
		check((&exec.Cmd{Path: "/tool", Args: []string{"tool", "helper", "sleep"}, Stdout: os.Stdout}).Start())
		return 5
	case "parent": // dies while its command runs
		c, err := Root{args[0]}.Command(context.Background(), Options{}, "/tool", "helper", "sleep")
		check(err)
		c.Stdout = os.Stdout
		check(c.Start())
		check(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "sleep":
		time.Sleep(time.Hour)
	case "nest":
		if len(args) > 0 {
			check(os.WriteFile("/proc/sys/user/max_user_namespaces", []byte(args[0]), 0))
		}
		c, err := Root{"/outer/marker"}.Command(context.Background(), Options{}, "/tool", "helper", "env")
		check(err)
		c.Stdout = os.Stdout
		check(c.Run())
	}
	return 0
}

func testRoot(t *testing.T) (Root, string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"root/usr/bin", "root/tmp", "root/proc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"root/tool": exe, "root/usr/bin/text": []byte("text"), "marker": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("usr/bin", filepath.Join(dir, "root/bin")); err != nil {
		t.Fatal(err)
	}
	return Root{filepath.Join(dir, "marker")}, dir
}

func run(t *testing.T, r Root, o Options, args ...string) (string, error) {
	t.Helper()
	c, err := r.Command(t.Context(), o, "/tool", append([]string{"helper"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader("from stdin"), &out, &out
	err = c.Run()
	return out.String(), err
}

func want(t *testing.T, r Root, o Options, output string, args ...string) {
	t.Helper()
	if got, err := run(t, r, o, args...); err != nil || got != output {
		t.Errorf("%q: got %q, %v; want %q", args, got, err, output)
	}
}

const envOutput = `["HOME=/tmp" "LC_ALL=C.UTF-8" "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "TZ=UTC"]
0:0 022 / toolroot
`

func TestEnvironment(t *testing.T) {
	r, _ := testRoot(t)
	t.Setenv("LEAK", "1")
	defer syscall.Umask(syscall.Umask(0o077))
	want(t, r, Options{}, envOutput, "env")
	with := strings.Replace(strings.Replace(envOutput, `["`, `["A=b" "`, 1), " / ", " /usr ", 1)
	want(t, r, Options{Env: []string{"A=b"}, Dir: "/usr"}, with, "env")
	want(t, r, Options{}, "from stdin", "echo")
}

func TestRootIsReadOnlyAndComplete(t *testing.T) {
	r, dir := testRoot(t)
	want(t, r, Options{}, "L--------- bin\nd--------- dev\nd--------- proc\nd--------- tmp\n---------- tool\nd--------- usr\n", "ls", "/")
	want(t, r, Options{}, "text", "cat", "/bin/text")
	for _, path := range []string{"/new", "/tool", "/usr/bin/text", "/usr/new"} {
		if out, _ := run(t, r, Options{}, "write", path); !strings.Contains(out, "read-only file system") {
			t.Errorf("writing %s: %q", path, out)
		}
	}
	want(t, r, Options{}, "", "write", "/tmp/new")
	want(t, r, Options{}, "", "write", "/dev/null")
	want(t, r, Options{}, "", "write", "/dev/shm/new")
	want(t, r, Options{}, "", "ls", "/tmp")
	if b, err := os.ReadFile(filepath.Join(dir, "root/usr/bin/text")); err != nil || string(b) != "text" {
		t.Errorf("the root was changed: %q, %v", b, err)
	}
}

func TestBinds(t *testing.T) {
	r, _ := testRoot(t)
	host := t.TempDir()
	t.Chdir(host)
	if err := os.Mkdir("dir", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("dir/file", []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("dir", "link"); err != nil {
		t.Fatal(err)
	}
	o := Options{Binds: []Bind{
		{Src: "link", Dst: "/src"},
		{Src: "dir", Dst: "/a/deep/out", Write: true},
		{Src: "dir/file", Dst: "/one/file"},
		{Src: "dir/file", Dst: "/bin/text"},
	}}
	want(t, r, o, "host", "cat", "/src/file")
	want(t, r, o, "host", "cat", "/one/file")
	want(t, r, o, "host", "cat", "/usr/bin/text")
	for _, path := range []string{"/src/new", "/one/file"} {
		if out, _ := run(t, r, o, "write", path); !strings.Contains(out, "read-only file system") {
			t.Errorf("writing %s: %q", path, out)
		}
	}
	want(t, r, o, "", "write", "/a/deep/out/new")
	fi, err := os.Stat("dir/new")
	if err != nil || fi.Mode() != 0o644 || fi.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		t.Errorf("written file: %v, %v", fi, err)
	}

	for dst, message := range map[string]string{"/usr/new": "making the mount point /usr/new", "/src2": "binding /src2"} {
		src := "dir"
		if dst == "/src2" {
			src = "missing"
		}
		if _, err := run(t, r, Options{Binds: []Bind{{Src: src, Dst: dst}}}, "exit"); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s on %s: %v", src, dst, err)
		}
	}
	for _, dst := range []string{"relative", "/", "/.."} {
		if _, err := r.Command(t.Context(), Options{Binds: []Bind{{Src: "dir", Dst: dst}}}, "/tool"); err == nil {
			t.Errorf("bind on %q was accepted", dst)
		}
	}
}

func TestStatus(t *testing.T) {
	r, dir := testRoot(t)
	if err := os.WriteFile(filepath.Join(dir, "root/usr/bin/data"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		argv   []string
		status int
		starts bool
	}{
		{[]string{"/tool", "helper", "exit"}, 7, true},
		{[]string{"/tool", "helper", "kill"}, 128 + 9, true},
		{[]string{"/tool", "helper", "orphan"}, 5, true},
		{[]string{"nothing"}, StatusNotFound, false},
		{[]string{"/nothing"}, StatusNotFound, false},
		{[]string{"/bin/data"}, StatusNotRunnable, false},
	} {
		c, err := r.Command(t.Context(), Options{}, test.argv[0], test.argv[1:]...)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Start()
		if (err == nil) != test.starts {
			t.Errorf("%q: Start: %v", test.argv, err)
		}
		if err == nil {
			c.Wait()
		}
		if got := c.ProcessState.ExitCode(); got != test.status {
			t.Errorf("%q: status %d, want %d", test.argv, got, test.status)
		}
	}
	c, err := r.Command(t.Context(), Options{Dir: "/nowhere"}, "/tool")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(); err == nil || c.ProcessState.ExitCode() != StatusSetup {
		t.Errorf("wrong working directory: %v, %v", err, c.ProcessState)
	}
}

func TestSignalReachesCommand(t *testing.T) {
	r, _ := testRoot(t)
	c, err := r.Command(t.Context(), Options{}, "/tool", "helper", "signal")
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	c.Process.Signal(syscall.SIGTERM)
	lines.Scan()
	if lines.Text() != syscall.SIGTERM.String() {
		t.Errorf("the command saw %q", lines.Text())
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// What a command leaves running dies with it, and a command with its caller:
// the pipe they hold is closed.
func TestNothingSurvives(t *testing.T) {
	r, _ := testRoot(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	orphan, err := r.Command(t.Context(), Options{}, "/tool", "helper", "orphan")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	canceled, err := r.Command(ctx, Options{}, "/tool", "helper", "sleep")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		cmd  interface {
			StdoutPipe() (io.ReadCloser, error)
			Start() error
			Wait() error
		}
		then func()
	}{
		{"orphan", orphan, func() {}},
		{"parent", exec.Command(exe, "helper", "parent", r.Marker), func() {}},
		{"canceled", canceled, cancel},
	} {
		out, err := test.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := test.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		test.then()
		if b, err := io.ReadAll(out); err != nil || len(b) > 0 {
			t.Errorf("%s: %q, %v", test.name, b, err)
		}
		if err := test.cmd.Wait(); err == nil {
			t.Errorf("%s: ended well", test.name)
		}
	}
}

func TestNoNet(t *testing.T) {
	r, _ := testRoot(t)
	want(t, r, Options{NoNet: true}, "network is unreachable\n", "connect")
}

func TestNests(t *testing.T) {
	r, dir := testRoot(t)
	o := Options{Binds: []Bind{{Src: dir, Dst: "/outer"}}}
	want(t, r, o, envOutput, "nest")
	out, err := run(t, r, o, "nest", "0")
	const explained = "creating a user namespace: fork/exec /proc/self/exe: no space left on device: user namespaces are switched off: set user.max_user_namespaces to more than 0 with sysctl\n"
	if err != nil || out != explained {
		t.Errorf("without user namespaces: %q, %v", out, err)
	}
}

func TestMissingRoot(t *testing.T) {
	dir := t.TempDir()
	marker := filepath.Join(dir, "marker")
	for _, step := range []func() error{
		func() error { return nil },
		func() error { return os.WriteFile(marker, nil, 0o644) },
		func() error { return os.WriteFile(filepath.Join(dir, "root"), nil, 0o644) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if _, err := (Root{marker}).Dir(); err == nil || !strings.Contains(err.Error(), "finding the tool root") {
			t.Errorf("got %v", err)
		}
	}
	r, real := testRoot(t)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(r.Marker, link); err != nil {
		t.Fatal(err)
	}
	if got, err := (Root{link}).Dir(); err != nil || got != filepath.Join(real, "root") {
		t.Errorf("through a symlink: %s, %v", got, err)
	}
}

func TestAdvice(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"kernel.unprivileged_userns_clone", "0", "set kernel.unprivileged_userns_clone=1"},
		{"user.max_user_namespaces", "0", "set user.max_user_namespaces to more than 0"},
		{"kernel.apparmor_restrict_unprivileged_userns", "1", "set kernel.apparmor_restrict_unprivileged_userns=0"},
		{"", "", "check the sysctls kernel.unprivileged_userns_clone=1, user.max_user_namespaces>0 and kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		got := advice(func(name string) string {
			if name == test.name {
				return test.value
			}
			return ""
		})
		if !strings.Contains(got, test.want) {
			t.Errorf("%s=%s: %s", test.name, test.value, got)
		}
	}
}
