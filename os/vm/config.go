package vm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/os/vm/ovmf"
	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/tools/toolroot"
)

// TPM is the interface of a machine's TPM 2.0.
type TPM string

// The interfaces of TPMs.
const (
	NoTPM TPM = ""
	TIS   TPM = "tis"
	CRB   TPM = "crb"
)

// Net is a machine's network.
type Net string

// The networks. UserNet is QEMU's own: DHCP, DNS and a way out through the
// host, no way in.
const (
	NoNet   Net = ""
	UserNet Net = "user"
)

// Disk is a raw image, attached as a virtio block device.
type Disk struct {
	Path     string
	NBD      string // in place of Path, the Unix socket of a server that has the image, which is only read; see package nbd
	ReadOnly bool
	Optical  bool // an optical medium in a SATA drive
}

// Netboot is how firmware boots from a network card.
type Netboot string

// The ways to boot: one of BIOS, two of UEFI.
const (
	NoNetboot Netboot = ""
	IPXE      Netboot = "ipxe" // BIOS: iPXE is the card's ROM
	PXE       Netboot = "pxe"
	HTTPBoot  Netboot = "http"
)

// NIC is a network card whose cable is a pair of Unix datagram sockets, one
// frame in each datagram; package lab is the other end of it.
type NIC struct {
	Socket string // the other end's; QEMU's is made beside it, see [GuestSocket]
	MAC    string // such as 52:54:00:00:00:01
	Model  string // QEMU's name of the device, virtio-net-pci if empty; usb-net is one such as a BMC has
	Boot   Netboot
}

// GuestSocket is where QEMU receives what is sent to a NIC with this Socket.
func GuestSocket(socket string) string { return socket + ".vm" }

// Config describes a machine.
type Config struct {
	Root      toolroot.Root // the tool root with QEMU, swtpm and OVMF
	Dir       string        // an existing directory for sockets, TPM and firmware variables
	Kernel    string        // bzImage; without one the firmware looks for what to boot: on NICs, then Disks
	Initrd    string        // may be empty
	Append    string        // kernel command line, after consoleParams
	MemoryMiB int           // 1024 if 0
	CPUs      int           // 2 if 0
	UEFI      bool          // boot under OVMF instead of SeaBIOS
	// SecureBoot, with UEFI, is what new firmware variables trust: nothing else is started then.
	SecureBoot *x509.Certificate
	TPM        TPM
	CA         swtpm.CA // signs the EK certificates; one in Dir/ca is used if it is the zero CA
	Net        Net
	NICs       []NIC // after the one of Net, in the order in which Linux numbers PCI cards
	Disks      []Disk
	// FirmwareOrder has the firmware boot in the order that its variables say. Without it that of NICs and Disks is put
	// before those.
	FirmwareOrder bool
	RTC           time.Time // of the battery-backed clock at the start, the host's time if zero
	Watchdog      bool      // an Intel 6300ESB, which resets the machine
	ERST          bool      // the firmware's store of errors, which is kept in Dir
	Serial        string    // an existing file that gets what is written to a second serial line; no such line if empty
	Overlay       []File    // files that are added to the initrd
	KVM           bool      // see ProbeKVM
	Args          []string  // more arguments for QEMU

	// Stdin, if set, is the console's input, in raw mode if it is a terminal,
	// with QEMU's own keys: Ctrl-A X ends QEMU, Ctrl-A H lists them. Otherwise
	// Machine.Send is the input.
	Stdin *os.File
	// Console gets all output as it comes; Transcript names a file that does,
	// Dir/console.log if empty.
	Console    io.Writer
	Transcript string
}

// startTPM serves the TPM in Dir/tpm, which it makes if there is none.
func (c Config) startTPM(ctx context.Context) (*swtpm.TPM, error) {
	state := filepath.Join(c.Dir, "tpm")
	if !swtpm.Manufactured(state) {
		ca := c.CA
		if ca == (swtpm.CA{}) {
			var err error
			if ca, err = swtpm.OpenCA(filepath.Join(c.Dir, "ca")); err != nil {
				return nil, err
			}
		}
		if err := swtpm.Manufacture(ctx, c.Root, ca, "ember-vm", state); err != nil {
			return nil, err
		}
	}
	return swtpm.Start(ctx, c.Root, state, c.Dir, tpmSocket)
}

func (c Config) makeFirmwareVars() error {
	path := filepath.Join(c.Dir, firmwareVars)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	root, err := c.Root.Dir()
	if err != nil {
		return err
	}
	blank, err := os.ReadFile(filepath.Join(root, blankVars))
	if err != nil {
		return fmt.Errorf("finding the UEFI firmware: %w", err)
	}
	if c.SecureBoot != nil {
		variables, err := ovmf.Read(blank)
		if err != nil {
			return err
		}
		if blank, err = ovmf.Write(blank, ovmf.Enrol(variables, c.SecureBoot)); err != nil {
			return err
		}
	}
	return os.WriteFile(path, blank, 0o644)
}

// copyResolver gives QEMU's network the host's nameservers, through the root's
// link from /etc/resolv.conf to the directory of the machine.
func (c Config) copyResolver() error {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(filepath.Join(c.Dir, resolver), b, 0o644)
}
