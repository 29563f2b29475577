// Package packed is the initrd's large files: programs and libraries, which stay compressed in memory and are
// unpacked, a block at a time, where they are used.
//
// They are in one squashfs, a file of the initrd that no archive compresses once more. The root has symbolic links
// to them under their own names. The kernel gives a squashfs to block devices only, so it is behind a loop device,
// which goes with the mount.
package packed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Places in the initrd.
const (
	Image = "/usr/lib/ember/packed.squashfs"
	Dir   = "/usr/lib/ember/packed" // where it is mounted; files have the paths in it that their links have
)

const blockSize = 4096 // of the loop device; a squashfs is padded to it

// Mount mounts the image of the root on its place there, and tells how many bytes it has: 0 if there is none. It
// needs /dev.
func Mount(root string) (size int64, err error) {
	image, err := os.Open(filepath.Join(root, Image))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("opening the packed files: %w", err)
	}
	defer image.Close()
	info, err := image.Stat()
	if err != nil {
		return 0, fmt.Errorf("looking at the packed files: %w", err)
	}
	device, err := attach(filepath.Join(root, "dev"), image)
	if err != nil {
		return 0, err
	}
	defer device.Close()
	if err := unix.Mount(device.Name(), filepath.Join(root, Dir), "squashfs", unix.MS_RDONLY|unix.MS_NODEV, ""); err != nil {
		return 0, fmt.Errorf("mounting the packed files: %w", err)
	}
	return info.Size(), nil
}

// attach puts a free loop device in front of a file. Unless it is mounted, it is free again once it is closed.
func attach(dev string, file *os.File) (*os.File, error) {
	control, err := os.OpenFile(filepath.Join(dev, "loop-control"), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the loop devices: %w", err)
	}
	defer control.Close()
	for {
		number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("finding a free loop device: %w", err)
		}
		device, err := os.Open(filepath.Join(dev, "loop"+strconv.Itoa(number)))
		if err != nil {
			return nil, fmt.Errorf("opening a loop device: %w", err)
		}
		err = unix.IoctlLoopConfigure(int(device.Fd()), &unix.LoopConfig{
			Fd: uint32(file.Fd()), Size: blockSize,
			Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR},
		})
		if err == nil {
			return device, nil
		}
		device.Close()
		if !errors.Is(err, unix.EBUSY) { // somebody else was faster
			return nil, fmt.Errorf("setting a loop device up: %w", err)
		}
	}
}
