// Package output is the road from what runs to the log: one FIFO for each unit,
// made and held open by PID 1 for as long as the machine runs.
//
// Because PID 1 holds both ends, a unit never gets SIGPIPE and the log daemon
// never an end of file, whichever of them comes, crashes and comes again; what the
// daemon has not read stays in the pipe. A unit that prints into a full pipe waits
// for the daemon. PID 1 itself must never wait: see Early.
package output

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Dir is the directory of the FIFOs.
const Dir = "/run/ember/output"

// ConsoleSuffix marks the FIFOs whose lines go to the consoles too.
const ConsoleSuffix = ".console"

// Init is the name of PID 1's own FIFO.
const Init = "init"

// The pipes' sizes in bytes. A pipe takes memory only for what is in it.
const (
	pipeSize     = 256 << 10
	initPipeSize = 1 << 20
)

// held is the FIFOs that this process keeps open, by path.
var held = struct {
	sync.Mutex
	paths map[string]bool
}{paths: map[string]bool{}}

// Open gives an end for writing of the FIFO of a unit in dir, which writes may
// block on, for children to inherit and for the caller to close. The FIFO is made
// the first time and stays open until the process ends.
func Open(dir, name string, console bool) (*os.File, error) {
	path := filepath.Join(dir, name)
	if console {
		path += ConsoleSuffix
	}
	if err := hold(path); err != nil {
		return nil, fmt.Errorf("making the way of %s to the log: %w", name, err)
	}
	// Without O_NONBLOCK, PID 1 would wait here for a reader of a FIFO that somebody
	// has put in the place of ours.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("making the way of %s to the log: %w", name, &os.PathError{Op: "open", Path: path, Err: err})
	}
	return os.NewFile(uintptr(fd), path), nil
}

// hold makes the FIFO and opens both of its ends.
func hold(path string) error {
	held.Lock()
	defer held.Unlock()
	if held.paths[path] {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
		return &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	size := pipeSize
	if filepath.Base(path) == Init {
		size = initPipeSize
	}
	// A pipe that stays smaller does its work too.
	_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, size)
	held.paths[path] = true
	return nil
}
