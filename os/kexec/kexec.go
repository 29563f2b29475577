// Package kexec has the kernel start another one in its place: kexec_file_load(2) of what a unified kernel image
// holds. It is only loaded here; it starts when the machine stops in order with the action power.Kexec.
//
// The kernel checks no signature of it unless it was told to (CONFIG_KEXEC_SIG, lockdown): Ember's is not, so root
// can start any kernel. PCRs are not reset, and nobody measures the new kernel: what was sealed to a boot opens, or
// does not, as if the kernel before it still ran.
package kexec

import "errors"

// Load has the kernel and initrd of a unified kernel image loaded, with its command line and more words behind it. It
// replaces what was loaded before. The error is a unix.EPERM where lockdown forbids it.
func Load(image []byte, words ...string) error { return errors.ErrUnsupported }

// Loaded tells whether a kernel is loaded.
func Loaded() (bool, error) { return false, errors.ErrUnsupported }
