// Vm boots Ember in QEMU with the console in the terminal; see package vm.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/tools/runfile"
	"github.com/ember-os/ember/tools/toolroot"
)

const usage = `Usage: bazel run //os:vm -- [flags]

Boots kernel and initrd in QEMU, with the console in this terminal. Leaves with
Ctrl-A X, or when the machine powers off or reboots, with QEMU's exit status.

Flags:
`

const notice = `vm: Ctrl-A X leaves, Ctrl-A H lists more keys. For a shell: --append ember.debug=shell
`

type flags struct {
	root, kernel, initrd string
	tpm, net, kvm        string
	tpmCA, makeTPMCA     string
	config               vm.Config
}

func main() {
	toolroot.Init()
	f := parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	status, err := run(ctx, f)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\n", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func parse() flags {
	var f flags
	flag.StringVar(&f.config.Append, "append", "", "kernel `parameters`, after console=ttyS0")
	flag.IntVar(&f.config.MemoryMiB, "mem", 1024, "memory in `MiB`")
	flag.IntVar(&f.config.CPUs, "smp", 2, "number of `processors`")
	flag.BoolVar(&f.config.UEFI, "uefi", false, "boot under UEFI firmware (OVMF) instead of a BIOS")
	flag.StringVar(&f.tpm, "tpm", "tis", "TPM 2.0 `interface`: tis, crb or none")
	flag.StringVar(&f.tpmCA, "tpm-ca", "", "`folder` of the authority that signs the TPM's certificate, instead of one that nobody knows")
	flag.StringVar(&f.makeTPMCA, "make-tpm-ca", "", "`folder` in which to make such an authority, and nothing else")
	flag.StringVar(&f.net, "net", "user", "`network`: user (DHCP, and out through the host) or none")
	flag.StringVar(&f.kvm, "kvm", "auto", "`mode`: auto (use KVM if the kernel boots under it) or off")
	flag.StringVar(&f.kernel, "kernel", "", "kernel `image`")
	flag.StringVar(&f.initrd, "initrd", "", "initial RAM disk `image`")
	flag.StringVar(&f.root, "root", "", "`marker` of the tool root with QEMU, swtpm and OVMF")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := f.check(flag.Args()); err != nil {
		fmt.Fprintf(os.Stderr, "vm: %v\nvm: --help lists the flags\n", err)
		os.Exit(2)
	}
	return f
}

// check completes the configuration.
func (f *flags) check(args []string) error {
	var ok bool
	if f.config.TPM, ok = map[string]vm.TPM{"tis": vm.TIS, "crb": vm.CRB, "none": vm.NoTPM}[f.tpm]; !ok {
		return fmt.Errorf("--tpm=%s: want tis, crb or none", f.tpm)
	}
	if f.config.Net, ok = map[string]vm.Net{"user": vm.UserNet, "none": vm.NoNet}[f.net]; !ok {
		return fmt.Errorf("--net=%s: want user or none", f.net)
	}
	switch {
	case f.kvm != "auto" && f.kvm != "off":
		return fmt.Errorf("--kvm=%s: want auto or off", f.kvm)
	case f.config.MemoryMiB < 1:
		return fmt.Errorf("--mem=%d: want a size in MiB", f.config.MemoryMiB)
	case f.config.CPUs < 1:
		return fmt.Errorf("--smp=%d: want at least 1", f.config.CPUs)
	case f.kernel == "" || f.root == "":
		return fmt.Errorf("--kernel and --root are required")
	case len(args) > 0:
		return fmt.Errorf("%q: want flags only; kernel parameters go into --append", args[0])
	}
	f.config.Root.Marker = runfile.Locate(f.root)
	f.config.Kernel = runfile.Locate(f.kernel)
	if f.initrd != "" {
		f.config.Initrd = runfile.Locate(f.initrd)
	}
	for _, dir := range []*string{&f.tpmCA, &f.makeTPMCA} {
		if *dir != "" {
			*dir = runfile.Locate(*dir)
		}
	}
	return nil
}

func run(ctx context.Context, f flags) (int, error) {
	if f.makeTPMCA != "" {
		_, err := swtpm.OpenCA(f.makeTPMCA)
		return 0, err
	}
	c := f.config
	dir, err := os.MkdirTemp("", "ember-vm")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	c.Dir, c.Stdin, c.Console = dir, os.Stdin, os.Stdout
	if f.tpmCA != "" {
		if c.CA, err = swtpm.OpenCA(f.tpmCA); err != nil {
			return 0, err
		}
	}
	if f.kvm == "auto" {
		err := c.ProbeKVM(ctx)
		c.KVM = err == nil
		if err != nil {
			reason, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintf(os.Stderr, "vm: processors are emulated: %s\n", reason)
		}
	}
	fmt.Fprint(os.Stderr, notice)
	m, err := vm.Start(ctx, c)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	end, err := m.Wait(context.WithoutCancel(ctx))
	return end.Status, errors.Join(err, context.Cause(ctx))
}
