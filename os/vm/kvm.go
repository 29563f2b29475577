package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

const kvmProbeTime = 5 * time.Second

// ProbeKVM tells whether the kernel boots under KVM here, by booting it without
// an initrd up to its complaint about that. Opening /dev/kvm proves nothing:
// there are nested ones under which a guest hangs. It takes well under a second
// where KVM works; the error says why it does not.
func (c Config) ProbeKVM(ctx context.Context) error {
	if err := c.probeKVM(ctx); err != nil {
		return fmt.Errorf("trying KVM: %w", err)
	}
	return nil
}

func (c Config) probeKVM(ctx context.Context) error {
	dev, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	dev.Close()
	dir, err := os.MkdirTemp("", "kvm")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeoutCause(ctx, kvmProbeTime, errors.New("the guest hangs"))
	defer cancel()
	m, err := Start(ctx, Config{Root: c.Root, Dir: dir, Kernel: c.Kernel, Append: "panic=-1", KVM: true})
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.WaitLine(ctx, func(line string) bool {
		return strings.Contains(line, "VFS: Unable to mount root fs")
	})
	return err
}
