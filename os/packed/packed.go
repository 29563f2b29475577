// Package packed is the initrd's large files: programs and libraries, which stay compressed in memory and are
// unpacked, a block at a time, where they are used.
//
// They are in images, each a squashfs and one file of the initrd, which no archive compresses once more. The root
// has symbolic links to them under their own names. The kernel gives a squashfs to block devices only, so each is
// behind a loop device, which goes with the mount.
package packed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	dir       = "/usr/lib/ember/packed"
	suffix    = ".squashfs"
	blockSize = 4096 // of the loop device; a squashfs is padded to it
)

// Image is where the image of that name is in the initrd.
func Image(name string) string { return filepath.Join(dir, name+suffix) }

// Dir is where it is mounted. Files have the paths there that their links have.
func Dir(name string) string { return filepath.Join(dir, name) }

// IsImage tells whether a path in the initrd is that of an image.
func IsImage(path string) bool { return filepath.Dir(path) == dir && strings.HasSuffix(path, suffix) }

// Mount mounts the images of the root on their places there, and gives their names. It needs /dev.
func Mount(root string) (names []string, err error) {
	images, err := filepath.Glob(filepath.Join(root, Image("*")))
	if err != nil {
		return nil, fmt.Errorf("finding the packed files: %w", err)
	}
	for _, image := range images {
		name := strings.TrimSuffix(filepath.Base(image), suffix)
		if err := mount(filepath.Join(root, "dev"), image, filepath.Join(root, Dir(name))); err != nil {
			return names, fmt.Errorf("mounting %s: %w", image, err)
		}
		names = append(names, name)
	}
	return names, nil
}

func mount(dev, image, target string) error {
	file, err := os.Open(image)
	if err != nil {
		return err
	}
	defer file.Close()
	device, err := attach(dev, file)
	if err != nil {
		return err
	}
	defer device.Close()
	return unix.Mount(device.Name(), target, "squashfs", unix.MS_RDONLY|unix.MS_NODEV, "")
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
