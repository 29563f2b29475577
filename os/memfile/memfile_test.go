package memfile

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
)

func TestNew(t *testing.T) {
	want := bytes.Repeat([]byte("content "), 10_000)
	f, err := New("test", bytes.NewReader(want), int64(len(want)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := f.Write([]byte("x")); !errors.Is(err, unix.EBADF) {
		t.Errorf("written to: %v", err)
	}
	b, unmap, err := Map(f)
	if err != nil || !bytes.Equal(b, want) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if err := unmap(); err != nil {
		t.Error(err)
	}
}

func TestEmpty(t *testing.T) {
	f, err := Empty("test")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("content"); err != nil {
		t.Error(err)
	}
	got := make([]byte, 10)
	if n, err := f.ReadAt(got, 0); string(got[:n]) != "content" || err != io.EOF {
		t.Errorf("%q, %v", got[:n], err)
	}
}

func TestNewFails(t *testing.T) {
	if _, err := New("test", strings.NewReader("12345"), 4); err == nil || !strings.Contains(err.Error(), "more than 4 bytes") {
		t.Error(err)
	}
	broken := errors.New("broken")
	if _, err := New("test", iotest.ErrReader(broken), 4); !errors.Is(err, broken) {
		t.Error(err)
	}
	empty, err := New("test", strings.NewReader(""), 4)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, _, err := Map(empty); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
}
