package power

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/nstest"
	"github.com/ember-os/ember/os/reaper"
	"golang.org/x/sys/unix"
)

// TestMain is also the program that does not want to end, which it says on its
// standard output.
func TestMain(m *testing.M) {
	if os.Args[0] == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		os.Stdout.WriteString("ready")
		time.Sleep(time.Hour) // the runtime calls select {} a deadlock
	}
	if os.Args[0] == "docile" {
		os.Stdout.WriteString("ready")
		time.Sleep(time.Hour) // the runtime calls select {} a deadlock
	}
	os.Exit(m.Run())
}

func start(t *testing.T, r *reaper.Reaper, name string) *reaper.Process {
	t.Helper()
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Start("/proc/self/exe", []string{name}, &syscall.ProcAttr{Files: []uintptr{0, out.Fd(), 2}})
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTerminate(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWPID) {
		return
	}
	r := reaper.New()
	go r.Run(t.Context())
	if err := Terminate(t.Context(), r, time.Hour); err != nil {
		t.Errorf("with nothing to end: %v", err)
	}
	docile := start(t, r, "docile")
	if err := Terminate(t.Context(), r, time.Hour); err != nil {
		t.Error(err)
	}
	if status, _ := docile.Wait(t.Context()); status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %#x", status)
	}
	stubborn := start(t, r, "stubborn")
	if err := Terminate(t.Context(), r, time.Millisecond); err == nil || !strings.Contains(err.Error(), "had to be killed") {
		t.Error(err)
	}
	if status, _ := stubborn.Wait(t.Context()); status.Signal() != syscall.SIGKILL {
		t.Errorf("ended with %#x", status)
	}
}

func TestTerminateNeedsPID1(t *testing.T) {
	if !nstest.Inside(t, 0) {
		return
	}
	if err := Terminate(t.Context(), reaper.New(), 0); err == nil || !strings.Contains(err.Error(), "only PID 1") {
		t.Error(err)
	}
}

// TestNow stops a PID namespace, which ends its PID 1 by a signal that tells how,
// see reboot(2).
func TestNow(t *testing.T) {
	if action := os.Getenv("ACTION"); action != "" {
		for a := range Action(len(commands)) {
			if a.String() == action {
				t.Fatal(a.Now())
			}
		}
		t.Fatal("no such action")
	}
	for a, want := range map[Action]syscall.Signal{Reboot: syscall.SIGHUP, PowerOff: syscall.SIGINT, Halt: syscall.SIGINT} {
		cmd := nstest.Command(t, syscall.CLONE_NEWPID)
		cmd.Env = append(cmd.Env, "ACTION="+a.String())
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != want {
			t.Errorf("%v: %v, want %v\n%s", a, err, want, out)
		}
	}
	cmd := nstest.Command(t, syscall.CLONE_NEWPID) // which has no kernel to start, and goes on
	cmd.Env = append(cmd.Env, "ACTION="+Kexec.String())
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "asking the kernel to kexec: invalid argument") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestListen(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	signals, to := make(chan os.Signal), make(chan Request)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Listen(ctx, signals, to)
	}()
	for s, want := range requests {
		signals <- syscall.SIGHUP
		signals <- s
		if got := <-to; got != want {
			t.Errorf("%v means %v, want %v", s, got, want)
		}
	}
	signals <- syscall.SIGINT
	cancel()
	<-ended
}

func TestSignals(t *testing.T) {
	if !nstest.Inside(t, 0) {
		return
	}
	c := Signals()
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGPIPE, syscall.SIGSEGV, syscall.SIGTERM, KexecSignal} {
		if err := syscall.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if got := <-c; got != s {
			t.Errorf("caught %v, want %v", got, s)
		}
	}
}

func event(typ, code uint16, value uint32) []byte {
	b := make([]byte, typeOffset, eventSize)
	b = binary.NativeEndian.AppendUint16(b, typ)
	b = binary.NativeEndian.AppendUint16(b, code)
	return binary.NativeEndian.AppendUint32(b, value)
}

func TestButton(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	b := &Button{Name: "Power Button", events: in}
	to := make(chan Request)
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- b.Run(ctx, to) }()
	press, release, sync := event(evKey, keyPower, pressed), event(evKey, keyPower, 0), event(0, 0, 0)
	other, repeat := event(evKey, keyPower+1, pressed), event(evKey, keyPower, 2)
	if _, err := out.Write(bytes.Join([][]byte{other, sync, release, repeat, press, sync, release}, nil)); err != nil {
		t.Fatal(err)
	}
	if got, want := <-to, (Request{PowerOff, `power button "Power Button"`}); got != want {
		t.Errorf("asked for %v, want %v", got, want)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}

	in, out, err = os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out.Close()
	if err := (&Button{events: in}).Run(t.Context(), to); !errors.Is(err, io.EOF) {
		t.Errorf("a button that went away: %v", err)
	}
}

func TestButtons(t *testing.T) {
	dir := t.TempDir()
	if b, err := Buttons(dir); b != nil || err != nil {
		t.Errorf("without devices: %v, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "event0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Buttons(dir); b != nil || !errors.Is(err, syscall.ENOTTY) {
		t.Errorf("with a plain file: %v, %v", b, err)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts(`22 28 0:21 / /proc rw,nosuid shared:5 - proc proc rw
28 1 8:1 / / rw - ext4 /dev/sda1 rw,errors=remount-ro
30 28 0:5 / /mnt/a\040b\134\011c\9 rw shared:1 master:2 - xfs none rw
31 28 0:5 / /short - 
nonsense
`)
	want := []mount{{"/proc", "proc"}, {"/", "ext4"}, {"/mnt/a b\\\tc\\9", "xfs"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("30 28 0:5 / /a\\040b rw - xfs none rw\n")
	f.Fuzz(func(t *testing.T, info string) {
		if n := len(parseMounts(info)); n > strings.Count(info, "\n")+1 {
			t.Errorf("%d mounts in %q", n, info)
		}
	})
}

func TestUnmount(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	overlay := func(name string) string {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"lower", "upper", "work", name} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		target := filepath.Join(dir, name)
		options := "userxattr,lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
		if err := unix.Mount("overlay", target, "overlay", 0, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		return target
	}
	mounted := func(target string) bool {
		info, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(info), " "+target+" ")
	}
	idle := overlay("idle")
	Unmount() // fails for what the namespace was given by its parent
	if mounted(idle) {
		t.Error("a mount that is not in use stays")
	}
	busy := overlay("busy")
	file, err := os.Create(filepath.Join(busy, "file"))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	if file, err = os.Open(filepath.Join(busy, "file")); err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	Unmount()
	if err := os.WriteFile(filepath.Join(busy, "new"), nil, 0o644); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing to a mount that was in use: %v", err)
	}
}
