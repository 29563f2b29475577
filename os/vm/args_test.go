package vm

import (
	"crypto/x509"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/tools/toolroot"
)

const (
	baseArgs = "-nodefaults -no-user-config -no-reboot -display none -machine q35 -m 512 -smp 1 -accel tcg -cpu max,la57=off " +
		"-chardev stdio,id=console,signal=off,mux=off -serial chardev:console " +
		"-chardev socket,id=qmp,path=/vm/qmp.sock -mon chardev=qmp,mode=control "
	kernelArgs = "-kernel /in/kernel -append console=ttyS0 no_timer_check"
)

func TestArgs(t *testing.T) {
	for _, test := range []struct {
		name  string
		set   func(*Config)
		want  string
		binds []toolroot.Bind
	}{
		{"least", func(c *Config) {}, baseArgs + kernelArgs, nil},
		{"initrd", func(c *Config) { c.Initrd, c.Append = "/i", "a b" },
			baseArgs + kernelArgs + " a b -initrd /in/initrd",
			[]toolroot.Bind{{Src: "/i", Dst: "/in/initrd"}}},
		{"second serial line", func(c *Config) { c.Serial = "/s" },
			baseArgs + "-serial file:/in/serial " + kernelArgs,
			[]toolroot.Bind{{Src: "/s", Dst: "/in/serial", Write: true}}},
		{"error store", func(c *Config) { c.ERST = true },
			baseArgs + "-object memory-backend-file,id=erst,share=on,size=64K,mem-path=/vm/erst -device acpi-erst,memdev=erst " + kernelArgs, nil},
		{"KVM", func(c *Config) { c.KVM = true },
			strings.Replace(baseArgs, "-accel tcg -cpu max,la57=off", "-accel kvm -cpu host", 1) + kernelArgs, nil},
		{"terminal", func(c *Config) { c.Stdin = os.Stdin },
			strings.Replace(baseArgs, "-chardev stdio,id=console,signal=off,mux=off", "-mon chardev=console,mode=readline -chardev stdio,id=console,signal=off,mux=on", 1) + kernelArgs, nil},
		{"UEFI", func(c *Config) { c.UEFI = true },
			baseArgs + "-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd " +
				"-drive if=pflash,unit=1,format=raw,file=/vm/ovmf-vars.fd " +
				"-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n " + kernelArgs, nil},
		{"Secure Boot", func(c *Config) { c.UEFI, c.SecureBoot = true, &x509.Certificate{} },
			baseArgs + "-machine smm=on -global driver=cfi.pflash01,property=secure,value=on " +
				"-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd " +
				"-drive if=pflash,unit=1,format=raw,file=/vm/ovmf-vars.fd " +
				"-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n " + kernelArgs, nil},
		{"TIS", func(c *Config) { c.TPM = TIS },
			baseArgs + kernelArgs + " -chardev socket,id=tpm,path=/vm/tpm.sock -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-tis,tpmdev=tpm0", nil},
		{"CRB", func(c *Config) { c.TPM = CRB },
			baseArgs + kernelArgs + " -chardev socket,id=tpm,path=/vm/tpm.sock -tpmdev emulator,id=tpm0,chardev=tpm -device tpm-crb,tpmdev=tpm0", nil},
		{"network", func(c *Config) { c.Net = UserNet },
			baseArgs + kernelArgs + " -netdev user,id=net0 -device virtio-net-pci,netdev=net0,romfile=", nil},
		{"disks", func(c *Config) { c.Disks = []Disk{{Path: "/a"}, {Path: "/b", ReadOnly: true}} },
			baseArgs + kernelArgs + " -drive if=none,id=disk0,format=raw,readonly=off,file=/in/disk0 -device virtio-blk-pci,drive=disk0" +
				" -drive if=none,id=disk1,format=raw,readonly=on,file=/in/disk1 -device virtio-blk-pci,drive=disk1",
			[]toolroot.Bind{{Src: "/a", Dst: "/in/disk0", Write: true}, {Src: "/b", Dst: "/in/disk1"}}},
		{"NICs", func(c *Config) {
			c.NICs = []NIC{{Socket: "/l/p0", MAC: "52:54:00:00:00:01"}, {Socket: "/l/p1", MAC: "52:54:00:00:00:02", Model: "usb-net"}}
		}, baseArgs + kernelArgs +
			" -netdev dgram,id=nic0,local.type=unix,local.path=/net/0/p0.vm,remote.type=unix,remote.path=/net/0/p0 -device virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:01,romfile=" +
			" -device qemu-xhci -netdev dgram,id=nic1,local.type=unix,local.path=/net/1/p1.vm,remote.type=unix,remote.path=/net/1/p1 -device usb-net,netdev=nic1,mac=52:54:00:00:00:02",
			[]toolroot.Bind{{Src: "/l", Dst: "/net/0", Write: true}, {Src: "/l", Dst: "/net/1", Write: true}}},
		{"firmware's boot", func(c *Config) {
			c.Kernel, c.UEFI = "", true
			c.NICs = []NIC{{Socket: "/l/p0", MAC: "52:54:00:00:00:01", Boot: PXE}, {Socket: "/l/p1", MAC: "52:54:00:00:00:02"}}
			c.Disks = []Disk{{NBD: "/n/s", Optical: true}}
		}, baseArgs + "-drive if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd " +
			"-drive if=pflash,unit=1,format=raw,file=/vm/ovmf-vars.fd -fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n -machine graphics=off" +
			" -netdev dgram,id=nic0,local.type=unix,local.path=/net/0/p0.vm,remote.type=unix,remote.path=/net/0/p0 -device virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:01,romfile=,bootindex=0" +
			" -netdev dgram,id=nic1,local.type=unix,local.path=/net/1/p1.vm,remote.type=unix,remote.path=/net/1/p1 -device virtio-net-pci,netdev=nic1,mac=52:54:00:00:00:02,romfile=" +
			" -drive if=none,id=disk0,format=raw,readonly=on,file=nbd+unix:///?socket=/nbd/0/s -device ide-cd,drive=disk0,bootindex=2",
			[]toolroot.Bind{{Src: "/l", Dst: "/net/0", Write: true}, {Src: "/l", Dst: "/net/1", Write: true}, {Src: "/n", Dst: "/nbd/0", Write: true}}},
		{"iPXE", func(c *Config) {
			c.Kernel = ""
			c.NICs = []NIC{{Socket: "/l/p0", MAC: "52:54:00:00:00:01", Boot: IPXE}}
		}, baseArgs + "-machine graphics=off" +
			" -netdev dgram,id=nic0,local.type=unix,local.path=/net/0/p0.vm,remote.type=unix,remote.path=/net/0/p0 -device virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:01,bootindex=0",
			[]toolroot.Bind{{Src: "/l", Dst: "/net/0", Write: true}}},
		{"firmware's order", func(c *Config) {
			c.Kernel, c.FirmwareOrder = "", true
			c.NICs = []NIC{{Socket: "/l/p0", MAC: "52:54:00:00:00:01", Boot: HTTPBoot}}
			c.Disks = []Disk{{Path: "/a"}}
		}, baseArgs + "-machine graphics=off" +
			" -netdev dgram,id=nic0,local.type=unix,local.path=/net/0/p0.vm,remote.type=unix,remote.path=/net/0/p0 -device virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:01,romfile=" +
			" -drive if=none,id=disk0,format=raw,readonly=off,file=/in/disk0 -device virtio-blk-pci,drive=disk0",
			[]toolroot.Bind{{Src: "/l", Dst: "/net/0", Write: true}, {Src: "/a", Dst: "/in/disk0", Write: true}}},
		{"clock", func(c *Config) { c.RTC = time.Date(2099, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600)) },
			baseArgs + kernelArgs + " -rtc base=2100-01-01T00:00:00,clock=vm", nil},
		{"watchdog", func(c *Config) { c.Watchdog = true }, baseArgs + kernelArgs + " -device i6300esb -action watchdog=reset", nil},
		{"more", func(c *Config) { c.Args = []string{"-x", "y"} }, baseArgs + kernelArgs + " -x y", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{Dir: "/d", Kernel: "/k", MemoryMiB: 512, CPUs: 1}
			test.set(&c)
			if got := strings.Join(c.args(), " "); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			dir, kernel := toolroot.Bind{Src: "/d", Dst: "/vm", Write: true}, toolroot.Bind{Src: "/k", Dst: "/in/kernel"}
			want := append([]toolroot.Bind{dir, kernel}, test.binds...)
			if c.Kernel == "" {
				want = slices.Delete(want, 1, 2)
			}
			if got := c.binds(); !reflect.DeepEqual(got, want) {
				t.Errorf("binds %v, want %v", got, want)
			}
		})
	}
	c := Config{Kernel: "/k", Append: "a  'b c'"}
	if args := c.args(); args[len(args)-1] != "console=ttyS0 no_timer_check a  'b c'" {
		t.Errorf("the command line is not one argument: %q", args)
	}
}
