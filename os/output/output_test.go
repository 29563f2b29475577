package output

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func reader(t *testing.T, path string) *bufio.Reader {
	t.Helper()
	file, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return bufio.NewReader(file)
}

func expect(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if got, err := r.ReadString('\n'); got != want || err != nil {
		t.Fatalf("read %.80q, %v, want %.80q", got, err, want)
	}
}

// TestOpen has writers and readers that come and go.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "output")
	for _, text := range []string{"first\n", "second\n"} {
		w, err := Open(dir, "a.service", false)
		if err != nil {
			t.Fatal(err)
		}
		if flags, err := unix.FcntlInt(w.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 || flags&unix.O_ACCMODE != unix.O_WRONLY {
			t.Errorf("children inherit the flags %#x, %v", flags, err)
		}
		if _, err := w.WriteString(text); err != nil {
			t.Error(err)
		}
		w.Close()
	}
	path := filepath.Join(dir, "a.service")
	r := reader(t, path)
	expect(t, r, "first\n")
	expect(t, r, "second\n")
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeNamedPipe|0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	w, err := Open(dir, "a.service", true)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if size, err := unix.FcntlInt(w.Fd(), unix.F_GETPIPE_SZ, 0); err != nil || size != pipeSize {
		t.Errorf("the pipe has %d bytes, %v", size, err)
	}
	fmt.Fprintln(w, "third")
	expect(t, reader(t, path+ConsoleSuffix), "third\n")
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(dir, "file"), "a", false); err == nil {
		t.Error("a FIFO is made below a file")
	}
	var e Early
	if err := e.Open(filepath.Join(dir, "file")); err == nil {
		t.Error("a FIFO is made below a file")
	}
}

// TestOpenReplaced has a FIFO that nobody reads in the place of the one that is held.
func TestOpenReplaced(t *testing.T) {
	dir := t.TempDir()
	w, err := Open(dir, "a.service", false)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	path := filepath.Join(dir, "a.service")
	if err := errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, "a.service", false); !errors.Is(err, unix.ENXIO) {
		t.Errorf("opening gives %v", err)
	}
}

func TestEarly(t *testing.T) {
	dir := t.TempDir()
	var e Early
	fmt.Fprint(&e, "one\ntwo\n")
	fmt.Fprint(&e, strings.Repeat("x", maxLine+1)+"\n")
	fmt.Fprint(&e, "no end")
	if err := e.Open(dir); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&e, "late")
	r := reader(t, filepath.Join(dir, Init))
	for _, want := range []string{"one\n", "two\n", strings.Repeat("x", maxLine-1) + "\n", "no end\n", "late\n"} {
		expect(t, r, want)
	}
}

// TestEarlyFull fills first what is kept and then the pipe.
func TestEarlyFull(t *testing.T) {
	dir := t.TempDir()
	line := strings.Repeat("x", 1023) + "\n"
	var e Early
	for range earlyLimit/len(line) + 3 {
		e.Write([]byte(line))
	}
	if err := e.Open(dir); err != nil {
		t.Fatal(err)
	}
	r := reader(t, filepath.Join(dir, Init))
	fmt.Fprintln(&e, "room")
	for range earlyLimit / len(line) {
		expect(t, r, line)
	}
	expect(t, r, "<4>3 lines were lost\n")
	expect(t, r, "room\n")

	written := 0
	for ; e.lost == 0; written++ {
		e.Write([]byte(line))
	}
	written--
	fmt.Fprintln(&e, "lost")
	for range written {
		expect(t, r, line)
	}
	fmt.Fprintln(&e, "room again")
	expect(t, r, "<4>2 lines were lost\n")
	expect(t, r, "room again\n")
}
