package bootserver

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/tools/toolroot"
	"github.com/ember-os/ember/tools/uki"
)

const stub = "usr/lib/systemd/boot/efi/linuxx64.efi.stub" // in the boot root

// Build makes a program of a kernel and an initrd, which are files, with a command line of its own. The root is the one
// with systemd's stub.
func Build(root toolroot.Root, kernel, initrd, cmdline string) ([]byte, error) {
	program, err := build(root, kernel, initrd, cmdline)
	if err != nil {
		return nil, fmt.Errorf("making a unified kernel image: %w", err)
	}
	return program, nil
}

func build(root toolroot.Root, kernel, initrd, cmdline string) ([]byte, error) {
	dir, err := root.Dir()
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(filepath.Join(dir, stub))
	if err != nil {
		return nil, err
	}
	c := uki.Content{Cmdline: cmdline, OSRelease: []byte("ID=ember\n"), Release: "0"}
	if c.Kernel, err = os.ReadFile(kernel); err != nil {
		return nil, err
	}
	if c.Initrd, err = os.ReadFile(initrd); err != nil {
		return nil, err
	}
	return uki.Build(program, c)
}
