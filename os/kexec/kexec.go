// Package kexec has the kernel start another one in its place: kexec_file_load(2) of what a unified kernel image
// holds. Here it is only loaded; it starts when the machine stops in order with the action power.Kexec.
//
// The stub in the image does not run, so the kernel gets the initrd without the stub's addition, and PCRs are neither
// reset nor extended: what was sealed to a boot opens, or does not, as if the kernel before it still ran. Ember's
// kernel is built without CONFIG_KEXEC_SIG: it checks no signature, with lockdown neither, so root can start any kernel
// until kernel.kexec_load_disabled is set. One that has it demands a signature when it is locked down.
package kexec

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/memfile"
	"github.com/ember-os/ember/tools/uki"
)

// ErrForbidden says that this kernel loads no other.
var ErrForbidden = errors.New("the kernel forbids it: kernel.kexec_load_disabled is set, or it is locked down and demands a signature")

// Load has the kernel and initrd of a unified kernel image loaded, with its command line and more words behind it. It
// replaces what was loaded before.
func Load(image []byte, words ...string) error {
	if err := load(image, words); err != nil {
		return fmt.Errorf("loading a kernel for kexec: %w", err)
	}
	return nil
}

func load(image []byte, words []string) error {
	c, err := uki.Read(image)
	if err != nil {
		return err
	}
	kernel, err := file("kernel", c.Kernel)
	if err != nil {
		return err
	}
	defer kernel.Close()
	initrd, err := file("initrd", c.Initrd)
	if err != nil {
		return err
	}
	defer initrd.Close()
	line := strings.Join(append([]string{c.Cmdline}, words...), " ")
	err = unix.KexecFileLoad(int(kernel.Fd()), int(initrd.Fd()), line, 0)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return err
}

// file keeps a part of an image in a file, which is how the kernel takes it.
func file(name string, content []byte) (*os.File, error) {
	return memfile.New(name, bytes.NewReader(content), int64(len(content)))
}
