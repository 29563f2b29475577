package tpm

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/protocol"
)

func TestReadLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if log, err := readLog(path); log != nil || err != nil {
		t.Errorf("%x, %v", log, err)
	}
	want := bytes.Repeat([]byte("log"), 100)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	if log, err := readLog(path); !bytes.Equal(log, want) || err != nil {
		t.Errorf("%x, %v", log, err)
	}
	if err := os.Truncate(path, protocol.MaxLog); err != nil {
		t.Fatal(err)
	}
	if log, err := readLog(path); len(log) != protocol.MaxLog || err != nil {
		t.Errorf("%d bytes, %v", len(log), err)
	}
	if err := os.Truncate(path, protocol.MaxLog+1); err != nil {
		t.Fatal(err)
	}
	if log, err := readLog(path); log != nil || err == nil {
		t.Errorf("%d bytes, %v", len(log), err)
	}
	if _, err := readLog(filepath.Dir(path)); err == nil {
		t.Error("a directory is read")
	}
}

func TestDevice(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d, tpm := device{os.NewFile(uintptr(pair[0]), "tpm")}, os.NewFile(uintptr(pair[1]), "other end")
	defer tpm.Close()
	go func() {
		b := make([]byte, maxResponse)
		n, _ := tpm.Read(b)
		tpm.Write(append(b[:n], " answer"...))
	}()
	if answer, err := d.Send([]byte("command")); string(answer) != "command answer" || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.Send([]byte("command")); err == nil {
		t.Error("it answers after Close")
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tpmrm0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(filepath.Join(dir, "tpmrm0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "tpmrm0", "below")); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}
