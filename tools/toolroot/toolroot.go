// Package toolroot runs commands inside a tool root: a directory of unpacked
// Debian packages that brings a build or a test its own tools.
//
// A command sees the root's files read-only under /, a fresh /proc, /dev and
// /tmp, the directories and files it was given, and nothing else of the host.
// It is root in its own user, mount, PID, IPC and UTS namespaces, so the caller
// needs no privileges, and all its processes die when it ends or when the
// caller does. Environment, umask (022), host name ("toolroot") and the paths of
// the binds are the same wherever it runs, so what it writes does not depend on
// the machine. The root itself is never written to.
//
// Linux 5.12 or newer and user namespaces are required. They nest: a command
// may be run inside Bazel's sandbox or inside another tool root.
//
// Namespaces are made by starting the calling program again, which is why its
// main or TestMain must call [Init] first. A separate helper program would have
// to be found at run time by every caller; the caller itself is always there.
package toolroot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit statuses of a command that could not be run, as of env(1) and chroot(1).
// Any other is the command's own; 128+n says that signal n ended it.
const (
	StatusSetup       = 125 // the tool root could not be entered
	StatusNotRunnable = 126 // the command was found but could not be started
	StatusNotFound    = 127 // the root has no such command
)

// Root names a tool root by its marker, a file beside the directory "root" that
// holds the packages. Marker may be a symlink, as Bazel passes it.
type Root struct {
	Marker string
}

// Dir returns the directory of the unpacked packages.
func (r Root) Dir() (string, error) {
	marker, err := filepath.EvalSymlinks(r.Marker)
	if err != nil {
		return "", fmt.Errorf("finding the tool root's marker (build the target that provides it): %w", err)
	}
	dir, err := filepath.Abs(filepath.Join(filepath.Dir(marker), "root"))
	if err != nil {
		return "", err
	}
	if fi, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("finding the tool root beside its marker: %w", err)
	} else if !fi.IsDir() {
		return "", fmt.Errorf("finding the tool root beside its marker: %s is not a directory", dir)
	}
	return dir, nil
}

// Bind shows a file or directory of the host inside the root.
type Bind struct {
	Src   string // on the host; relative to the caller's directory; symlinks are followed
	Dst   string // absolute path inside, made if it lies outside the root's own directories
	Write bool   // read-only otherwise, with all that is mounted below Src
}

// Options say what a command sees besides the root.
type Options struct {
	Binds []Bind   // in order: a later one may lie inside an earlier one
	Env   []string // "key=value", added to PATH, HOME=/tmp, LC_ALL=C.UTF-8 and TZ=UTC
	Dir   string   // working directory inside; "/" if empty
	KVM   bool     // pass /dev/kvm
	NoNet bool     // a network of its own with only a loopback interface
}

// Cmd is an exec.Cmd whose Start and Run return only when the command itself
// runs, or with an error that says why it does not. Standard files, context,
// Wait and Process are used as ever: signals sent to Process reach the command.
// ExtraFiles, Dir, Env and SysProcAttr belong to this package.
type Cmd struct {
	*exec.Cmd
}

// Command prepares to run name, looked up in the root's PATH, with args. When
// ctx ends, every process of the command is killed.
func (r Root) Command(ctx context.Context, o Options, name string, args ...string) (*Cmd, error) {
	if !initCalled {
		return nil, errors.New("toolroot.Init was not called first in main or TestMain")
	}
	dir, err := r.Dir()
	if err != nil {
		return nil, err
	}
	s := spec{Root: dir, Dir: "/", Binds: make([]Bind, len(o.Binds)), KVM: o.KVM, NoNet: o.NoNet}
	if o.Dir != "" {
		s.Dir = o.Dir
	}
	for i, b := range o.Binds {
		if !filepath.IsAbs(b.Dst) || filepath.Clean(b.Dst) == "/" {
			return nil, fmt.Errorf("binding %s: %q is not an absolute path below /", b.Src, b.Dst)
		}
		if b.Src, err = filepath.Abs(b.Src); err != nil {
			return nil, fmt.Errorf("binding %s: %w", b.Dst, err)
		}
		s.Binds[i] = b
	}
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}

	c := exec.CommandContext(ctx, "/proc/self/exe")
	c.Args = append([]string{stageName, string(arg), name}, args...)
	c.Env = append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/tmp", "LC_ALL=C.UTF-8", "TZ=UTC",
	}, o.Env...)
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{
			{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{
			{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if o.NoNet {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	return &Cmd{c}, nil
}

// Start starts the command. After an error, ProcessState, unless it is nil,
// has one of the exit statuses of this package. The command is killed when the
// calling thread ends, which matters only to goroutines locked to theirs.
func (c *Cmd) Start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	c.ExtraFiles = []*os.File{w} // reportFD
	err = c.Cmd.Start()
	w.Close()
	if err != nil {
		return refused("creating a user namespace", err)
	}
	report, err := io.ReadAll(r)
	if err == nil && len(report) > 0 {
		err = errors.New(string(report))
	}
	if err != nil {
		c.Process.Kill()
		c.Wait()
	}
	return err
}

// Run starts the command and waits for it to end.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}
