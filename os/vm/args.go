package vm

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/tools/toolroot"
)

// Where QEMU finds its files. They are short, whatever the host's paths are: a
// Unix socket's path has at most 107 characters.
const (
	insideDir    = "/vm" // Config.Dir
	insideKernel = "/in/kernel"
	insideInitrd = "/in/initrd"
	insideSerial = "/in/serial"

	qmpSocket    = "qmp.sock" // in Config.Dir, as are the next four
	tpmSocket    = "tpm.sock"
	resolver     = "resolv.conf" // where the root's /etc/resolv.conf leads
	firmwareVars = "ovmf-vars.fd"
	errorStore   = "erst"
	firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd" // in the root, as are the next two
	secureCode   = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	blankVars    = "usr/share/OVMF/OVMF_VARS_4M.fd"
)

func insideDisk(i int) string { return fmt.Sprintf("/in/disk%d", i) }

// insideSocket is in a directory of its own, because QEMU makes a socket there.
func insideSocket(i int, path string) string {
	return fmt.Sprintf("/net/%d/%s", i, filepath.Base(path))
}

// insideServer is in a directory of its own too: a socket may be made again while the machine runs.
func insideServer(i int, path string) string {
	return fmt.Sprintf("/nbd/%d/%s", i, filepath.Base(path))
}

// nicName is what QEMU calls NICs[i].
func nicName(i int) string { return fmt.Sprintf("nic%d", i) }

// binds shows QEMU the files that args names.
func (c Config) binds() []toolroot.Bind {
	binds := []toolroot.Bind{{Src: c.Dir, Dst: insideDir, Write: true}}
	if c.Kernel != "" {
		binds = append(binds, toolroot.Bind{Src: c.Kernel, Dst: insideKernel})
	}
	if c.Initrd != "" {
		binds = append(binds, toolroot.Bind{Src: c.Initrd, Dst: insideInitrd})
	}
	if c.Serial != "" {
		binds = append(binds, toolroot.Bind{Src: c.Serial, Dst: insideSerial, Write: true})
	}
	for i, n := range c.NICs {
		binds = append(binds, toolroot.Bind{Src: filepath.Dir(n.Socket), Dst: filepath.Dir(insideSocket(i, n.Socket)), Write: true})
	}
	for i, d := range c.Disks {
		if d.NBD != "" {
			binds = append(binds, toolroot.Bind{Src: filepath.Dir(d.NBD), Dst: filepath.Dir(insideServer(i, d.NBD)), Write: true})
		} else {
			binds = append(binds, toolroot.Bind{Src: d.Path, Dst: insideDisk(i), Write: !d.ReadOnly})
		}
	}
	return binds
}

// consoleParams come before the caller's. On a loaded host an emulated timer is late, which the
// kernel takes for a broken one and panics ("IO-APIC + timer doesn't work").
const consoleParams = "console=ttyS0 no_timer_check"

// args is QEMU's command line: nothing but what it names is in the machine.
func (c Config) args() []string {
	a := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-machine", "q35", "-m", strconv.Itoa(c.MemoryMiB), "-smp", strconv.Itoa(c.CPUs),
	}
	if c.KVM {
		a = append(a, "-accel", "kvm", "-cpu", "host")
	} else {
		// Five-level page tables make every emulated table walk longer.
		a = append(a, "-accel", "tcg", "-cpu", "max,la57=off")
	}

	mux := "off"
	if c.Stdin != nil {
		mux = "on"
		a = append(a, "-mon", "chardev=console,mode=readline")
	}
	a = append(a,
		"-chardev", "stdio,id=console,signal=off,mux="+mux, "-serial", "chardev:console",
		"-chardev", "socket,id=qmp,path="+filepath.Join(insideDir, qmpSocket), "-mon", "chardev=qmp,mode=control")

	if c.Serial != "" {
		a = append(a, "-serial", "file:"+insideSerial)
	}
	if c.ERST {
		a = append(a, "-object", "memory-backend-file,id=erst,share=on,size=64K,mem-path="+filepath.Join(insideDir, errorStore),
			"-device", "acpi-erst,memdev=erst")
	}
	if c.UEFI {
		code := firmwareCode
		if c.SecureBoot != nil {
			code = secureCode // it keeps its variables from the system by means of system management mode
			a = append(a, "-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")
		}
		a = append(a,
			"-drive", "if=pflash,unit=0,format=raw,readonly=on,file="+code,
			"-drive", "if=pflash,unit=1,format=raw,file="+filepath.Join(insideDir, firmwareVars))
		// The firmware would wait for minutes for servers that are not there.
		if !slices.ContainsFunc(c.NICs, func(n NIC) bool { return n.Boot == PXE }) {
			a = append(a, "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n")
		}
		a = append(a, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
	}
	if c.Kernel != "" {
		a = append(a, "-kernel", insideKernel, "-append", strings.TrimSpace(consoleParams+" "+c.Append))
	} else {
		a = append(a, "-machine", "graphics=off") // what BIOS programs write is on the console then
	}
	if c.Initrd != "" {
		a = append(a, "-initrd", insideInitrd)
	}
	if c.TPM != NoTPM {
		a = append(a,
			"-chardev", "socket,id=tpm,path="+filepath.Join(insideDir, tpmSocket),
			"-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-"+string(c.TPM)+",tpmdev=tpm0")
	}
	if c.Net == UserNet {
		a = append(a, "-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile=")
	}
	a = append(a, c.nicArgs()...)
	for i, d := range c.Disks {
		a = append(a, c.diskArgs(i, d)...)
	}
	if !c.RTC.IsZero() {
		a = append(a, "-rtc", "base="+c.RTC.UTC().Format("2006-01-02T15:04:05")+",clock=vm")
	}
	if c.Watchdog {
		a = append(a, "-device", "i6300esb", "-action", "watchdog=reset")
	}
	return append(a, c.Args...)
}

func (c Config) diskArgs(i int, d Disk) []string {
	readOnly, file, model := "off", insideDisk(i), "virtio-blk-pci"
	if d.ReadOnly || d.Optical || d.NBD != "" {
		readOnly = "on"
	}
	if d.NBD != "" {
		file = "nbd+unix:///?socket=" + insideServer(i, d.NBD)
	}
	if d.Optical {
		model = "ide-cd"
	}
	return []string{
		"-drive", fmt.Sprintf("if=none,id=disk%d,format=raw,readonly=%s,file=%s", i, readOnly, file),
		"-device", fmt.Sprintf("%s,drive=disk%d%s", model, i, c.bootIndex(len(c.NICs)+i)),
	}
}

// bootIndex is a device's place in the order in which the firmware tries them: cards, then disks.
func (c Config) bootIndex(i int) string {
	if c.Kernel != "" || c.FirmwareOrder {
		return ""
	}
	return fmt.Sprintf(",bootindex=%d", i)
}

func (c Config) nicArgs() []string {
	var a []string
	usb := false
	for i, n := range c.NICs {
		model := cmp.Or(n.Model, "virtio-net-pci")
		device := fmt.Sprintf("%s,netdev=%s,mac=%s", model, nicName(i), n.MAC)
		switch {
		case strings.HasPrefix(model, "usb-"):
			if !usb {
				usb = true
				a = append(a, "-device", "qemu-xhci")
			}
		case n.Boot != IPXE:
			device += ",romfile="
		}
		if n.Boot != NoNetboot {
			device += c.bootIndex(i)
		}
		socket := insideSocket(i, n.Socket)
		a = append(a,
			"-netdev", fmt.Sprintf("dgram,id=%s,local.type=unix,local.path=%s,remote.type=unix,remote.path=%s", nicName(i), GuestSocket(socket), socket),
			"-device", device)
	}
	return a
}
