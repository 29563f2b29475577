package netstate

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Watch sends when a file was replaced, until ctx ends. Several changes may be told
// as one.
func Watch(ctx context.Context, path string) (<-chan struct{}, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	if _, err := unix.InotifyAddWatch(fd, filepath.Dir(path), unix.IN_MOVED_TO); err != nil {
		events.Close()
		return nil, fmt.Errorf("watching %s: %w", path, err)
	}
	stop := context.AfterFunc(ctx, func() { events.Close() })
	changed := make(chan struct{}, 1)
	go func() {
		defer stop()
		buf := make([]byte, 4096)
		for {
			n, err := events.Read(buf)
			if err != nil {
				return // closed: inotify has no other errors
			}
			if !tellsOf(buf[:n], filepath.Base(path)) {
				continue
			}
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	}()
	return changed, nil
}

// tellsOf tells whether one of the events, see inotify(7), is about a file with this
// name, or is that events were lost.
func tellsOf(events []byte, name string) bool {
	for len(events) >= unix.SizeofInotifyEvent {
		mask := binary.NativeEndian.Uint32(events[4:])
		end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(events[12:]))
		if mask&unix.IN_Q_OVERFLOW != 0 || string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00")) == name {
			return true
		}
		events = events[end:]
	}
	return false
}

// Await returns the state at path once it is as wanted.
func Await(ctx context.Context, path string, wanted func(State) bool) (State, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, err := Watch(ctx, path)
	if err != nil {
		return State{}, err
	}
	for {
		s, err := Read(path)
		if err != nil {
			return State{}, err
		}
		if wanted(s) {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return State{}, fmt.Errorf("waiting for the network: %w", ctx.Err())
		}
	}
}
