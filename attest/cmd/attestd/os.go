package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// auditFile is a file that can be opened again, after a rotation.
type auditFile struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

func openAudit(path string) (*auditFile, error) {
	a := &auditFile{path: path, f: os.Stdout}
	if err := a.reopen(); err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	return a, nil
}

func (a *auditFile) reopen() error {
	if a.path == onStdout {
		return nil
	}
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f != os.Stdout {
		a.f.Close()
	}
	a.f = f
	return nil
}

func (a *auditFile) Write(b []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.f.Write(b)
}

func (a *auditFile) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.f == os.Stdout {
		return nil
	}
	return a.f.Close()
}

func peerOf(c net.Conn) (string, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "", errors.New("not a unix socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "", err
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return "", err
	}
	return fmt.Sprintf("uid %d", credentials.Uid), nil
}

func inode(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// escapeGlob makes a path a pattern that matches itself (path/filepath.Match).
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
