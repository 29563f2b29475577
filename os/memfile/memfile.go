// Package memfile keeps files in memory that have no name and nobody else can open: memfd_create(2). They are gone
// when they are closed, or the process ends.
package memfile

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// New makes a file of what a reader gives, to be read only. name is for people who look at /proc. A reader of more
// than limit bytes is an error.
func New(name string, from io.Reader, limit int64) (*os.File, error) {
	f, err := fill(name, from, limit)
	if err != nil {
		return nil, fmt.Errorf("keeping %s in memory: %w", name, err)
	}
	return f, nil
}

func fill(name string, from io.Reader, limit int64) (*os.File, error) {
	f, err := create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(from, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	// The kernel reads no program from a file that somebody may still write to.
	return os.Open("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
}

// Empty makes a file to be written to.
func Empty(name string) (*os.File, error) {
	f, err := create(name)
	if err != nil {
		return nil, fmt.Errorf("making %s in memory: %w", name, err)
	}
	return f, nil
}

func create(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Map shows the bytes of a file, which must not be empty and not become shorter. unmap ends that.
func Map(f *os.File) (b []byte, unmap func() error, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	b, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping %s: %w", f.Name(), err)
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
