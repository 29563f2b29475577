package console

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

// TestMain is also the program that leads a session in the tests: it tells about
// its terminal and exits.
func TestMain(m *testing.M) {
	if os.Args[0] == "session" {
		session, _ := unix.Getsid(0)
		foreground, err := unix.IoctlGetInt(0, unix.TIOCGPGRP)
		_, err2 := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		fmt.Printf("leader=%v foreground=%v %v %v TERM=%s\n", session == os.Getpid(), foreground == os.Getpid(), err, err2, os.Getenv("TERM"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// open opens consoles and runs their ports for the length of the test.
func (c *Console) openForTest(t *testing.T, dir string, names ...string) []error {
	var devices []Device
	for _, name := range names {
		devices = append(devices, Device{Name: name})
	}
	errs := c.Open(dir, devices)
	for _, p := range c.Ports() {
		go p.Run(t.Context())
	}
	return errs
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want || err != nil {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func TestWrite(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	master, path := nstest.Terminal(t)
	out := bufio.NewReader(master)
	var c Console
	fmt.Fprintf(&c, "early\n")
	errs := c.openForTest(t, filepath.Dir(path), filepath.Base(path), "absent", "ptmx")
	if len(errs) != 1 || !errors.Is(errs[0], os.ErrNotExist) {
		t.Errorf("errors: %v", errs)
	}
	if len(c.Ports()) != 2 { // a ptmx is a terminal, if a strange one
		t.Fatalf("%d ports", len(c.Ports()))
	}
	fmt.Fprintf(&c, "late\nlines\n")
	for _, want := range []string{"early\r\n", "late\r\n", "lines\r\n"} {
		expect(t, out, want)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestStalled has one console whose flow is stopped beside one that works.
func TestStalled(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	stalledMaster, stalledPath := nstest.Terminal(t)
	master, path := nstest.Terminal(t)
	slave, err := os.OpenFile(stalledPath, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer slave.Close()
	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
		t.Fatal(err)
	}
	var stalled, working Console
	stalled.Open(filepath.Dir(stalledPath), []Device{{Name: filepath.Base(stalledPath)}})
	working.Open(filepath.Dir(path), []Device{{Name: filepath.Base(path)}})
	c := Console{ports: []*Port{stalled.ports[0], working.ports[0]}}
	stalled.ports[0].patience = time.Millisecond
	for _, p := range c.Ports() {
		go p.Run(t.Context())
	}
	out := bufio.NewReader(master)
	for i := range queueLength + 1 {
		fmt.Fprintf(&c, "%d\n", i)
		expect(t, out, fmt.Sprintf("%d\r\n", i))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Flush(ended); err == nil {
		t.Error("Flush does not tell that a console is stalled")
	}

	if err := unix.IoctlSetInt(int(slave.Fd()), unix.TCXONC, unix.TCOON); err != nil {
		t.Fatal(err)
	}
	go func() {
		for t.Context().Err() == nil {
			fmt.Fprintln(&c, "again")
			time.Sleep(time.Millisecond)
		}
	}()
	go master.Read(make([]byte, 1<<20))
	in := bufio.NewReader(stalledMaster)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "output was lost") {
			break
		}
	}
}

// TestHangup hangs a console up, as the end of a session on it does.
func TestHangup(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	console := filepath.Join(dir, "console0")
	first, firstPath := nstest.Terminal(t)
	second, secondPath := nstest.Terminal(t)
	if err := os.Symlink(firstPath, console); err != nil {
		t.Fatal(err)
	}
	var c Console
	c.openForTest(t, dir, "console0")
	fmt.Fprintln(&c, "before")
	expect(t, bufio.NewReader(first), "before\r\n")
	first.Close()
	if err := errors.Join(os.Remove(console), os.Symlink(secondPath, console)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&c, "after")
	expect(t, bufio.NewReader(second), "after\r\n")
}

func TestSession(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	master, path := nstest.Terminal(t)
	terminal, err := OpenTerminal(path)
	if err != nil {
		t.Fatal(err)
	}
	attr := Session(terminal, nil)
	cmd := exec.Cmd{Path: "/proc/self/exe", Args: []string{"session"}, Env: attr.Env, Stdin: terminal, Stdout: terminal, Stderr: terminal, SysProcAttr: attr.Sys}
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	expect(t, bufio.NewReader(master), "leader=true foreground=true <nil> <nil> TERM=vt220\r\n")
}

func TestLastResort(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	var c Console
	if c.Open(dir, nil); c.Ports()[0].Name != "stderr" {
		t.Errorf("without devices it is %s", c.Ports()[0].Name)
	}
	for _, name := range []string{"kmsg", "console"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		var c Console
		fmt.Fprintln(&c, "text")
		c.openForTest(t, dir)
		if err := c.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(file); string(got) != "text\n" {
			t.Errorf("%s got %q", name, got)
		}
	}
}

func TestDevices(t *testing.T) {
	class := t.TempDir()
	for path, text := range map[string]string{
		"console/active": "tty0 ttyS0\n", "tty0/dev": "4:0\n",
		"ttyS0/type": "4\n", "ttyS1/type": "4\n", "ttyS2/type": "0\n", "ttyS3/type": "4\n", "ttyAMA0/type": "32\n",
	} {
		path = filepath.Join(class, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	named := []cmdline.Console{
		{Device: "ttyS1", Options: "57600"}, {Device: "../sda"}, {Device: "hvc0", Options: "9600"}, {Device: "ttyS1", Options: "9600"},
		{Device: "."}, {Device: ".."}, {Device: "null"}, {Device: "ttynull"}, {Device: "uart8250", Options: "io,0x3f8"}, {Device: "uart", Options: "io,0x3f8"},
		{Device: "tty"}, {Device: "00:04:0.0", Options: "9600"}, {Device: "a/b"}, {Device: "ttyS0", Options: "19200"}, {Device: "ttyS2", Options: "9600"}, {Device: "ttyS3"},
	}
	used := []Device{{"ttyS1", "57600"}, {Name: "hvc0"}, {Name: "ttyS0"}, {Name: "ttyS2"}, {Name: "ttyS3"}, {Name: "tty0"}}
	if got := devices(class, named, cmdline.SerialNamed); !slices.Equal(got, used) {
		t.Errorf("named: %q, want %q", got, used)
	}
	if got, want := devices(class, named, cmdline.SerialAll), append(used, Device{"ttyAMA0", usualLine}); !slices.Equal(got, want) {
		t.Errorf("all: %q, want %q", got, want)
	}
	if got := devices(filepath.Join(class, "absent"), nil, cmdline.SerialAll); got != nil {
		t.Errorf("without terminals there is %q", got)
	}
}

func TestTypes(t *testing.T) {
	for name, want := range map[string][2]string{"tty0": {"tty1", "linux"}, "tty2": {"tty2", "linux"}, "ttyS0": {"ttyS0", "vt220"}, "hvc0": {"hvc0", "vt220"}} {
		if Terminal(name) != want[0] || Type("/dev/"+Terminal(name)) != want[1] {
			t.Errorf("%s: %s, %s", name, Terminal(name), Type("/dev/"+Terminal(name)))
		}
	}
}

func TestOpenTerminalRefuses(t *testing.T) {
	if _, err := OpenTerminal(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := OpenTerminal("/dev/null"); !errors.Is(err, syscall.ENOTTY) {
		t.Error(err)
	}
}
