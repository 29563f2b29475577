package hardware

import (
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plant makes a machine's files from lines "path = text" and links from "path -> target".
// Text may have Go's escapes.
func plant(t *testing.T, lines string) string {
	t.Helper()
	root := t.TempDir()
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		name, target, isLink := strings.Cut(line, " -> ")
		name, text, isFile := strings.Cut(name, " = ")
		path := filepath.Join(root, name)
		if line == "" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case isLink:
			err = os.Symlink(target, path)
		case isFile:
			if text, err = strconv.Unquote(`"` + text + `"`); err == nil {
				err = os.WriteFile(path, []byte(text+"\n"), 0o644)
			}
		default:
			err = os.MkdirAll(path, 0o755)
		}
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return root
}

// variable adds an EFI variable with the attributes that boot services and the
// running system may read it.
func variable(t *testing.T, root, name, guid string, value []byte) {
	t.Helper()
	path := filepath.Join(root, "sys/firmware/efi/efivars", name+"-"+guid)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte{6, 0, 0, 0}, value...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// rack is a server with a RAID controller, an NVMe drive, two ports of which one has
// a cable, and a card that no driver knows.
const rack = `
	sys/class/dmi/id/sys_vendor = Dell Inc.
	sys/class/dmi/id/product_name = PowerEdge R640
	sys/class/dmi/id/product_version = Not Specified
	sys/class/dmi/id/product_serial = 8XK2M33
	sys/class/dmi/id/product_uuid = 4c4c4544-0058-4b10-8032-b8c04f4d3333
	sys/class/dmi/id/bios_vendor = Dell Inc.
	sys/class/dmi/id/bios_version = 2.19.1
	sys/class/dmi/id/bios_date = 06/04/2023
	sys/firmware/dmi/entries/17-0/raw = \x11\x54\x00\x11\x00\x10\xfe\xff\x48\x00\x40\x00\xff\x7f\x09\x01\x41\x31\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00
	sys/firmware/dmi/entries/17-1/raw = \x11\x54\x01\x11\x00\x10\xfe\xff\x48\x00\x40\x00\x00\x40\x09\x01
	sys/firmware/dmi/entries/17-2/raw = \x11\x54\x02\x11\x00\x10\xfe\xff\x00\x00\x00\x00\x00\x00\x09\x01
	sys/firmware/dmi/entries/16-0/raw = \x10\x17\x00\x10
	proc/meminfo = MemTotal:       48952044 kB\nMemFree:        47000000 kB
	proc/cpuinfo = processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Gold 6130  CPU @ 2.10GHz\nflags\t\t: fpu vmx\n\nprocessor\t: 1\nmodel name\t: other
	sys/devices/system/cpu/online = 0-3
	sys/devices/system/cpu/cpufreq/boost = 1
	sys/devices/system/cpu/cpu0/topology/physical_package_id = 0
	sys/devices/system/cpu/cpu0/topology/core_cpus_list = 0,2
	sys/devices/system/cpu/cpu1/topology/physical_package_id = 1
	sys/devices/system/cpu/cpu1/topology/core_cpus_list = 1
	sys/devices/system/cpu/cpu2/topology/physical_package_id = 0
	sys/devices/system/cpu/cpu2/topology/core_cpus_list = 0,2
	sys/devices/system/cpu/cpu3/online = 0

	sys/class/tpm/tpm0 -> ../../devices/pnp0/00:05/tpm/tpm0
	sys/devices/pnp0/00:05/tpm/tpm0/tpm_version_major = 2
	sys/devices/pnp0/00:05/tpm/tpm0/device -> ../..
	sys/devices/pnp0/00:05/driver -> ../../../bus/pnp/drivers/tpm_tis

	sys/block/loop0/size = 8
	sys/block/dm-0/size = 8
	sys/block/sr0/size = 8
	sys/block/sda -> ../devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/block/sda
	sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/block/sda/device -> ../..
	sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/model = PERC H740P Mini
	sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/vpd_pg80 = \x00\x80\x00\x05ab12 trailing
	sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/block/sda/size = 936640512
	sys/devices/pci0000:17/0000:17:00.0/0000:18:00.0/host0/target0:2:0/0:2:0:0/block/sda/queue/rotational = 1
	sys/class/scsi_host/host0/proc_name = megaraid_sas
	sys/block/nvme0n1 -> ../devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1
	sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/device -> ..
	sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/size = 3125627568
	sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1/queue/rotational = 0
	sys/devices/virtual/nvme-subsystem/nvme-subsys0/model = Dell Express Flash PM1725b 1.6TB SFF
	sys/devices/virtual/nvme-subsystem/nvme-subsys0/serial = S3X0NA0K
	sys/block/nvme0c0n1/hidden = 1
	sys/block/nvme0c0n1/size = 3125627568
	sys/block/sdb -> ../devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host1/target1:0:0/1:0:0:0/block/sdb
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host1/target1:0:0/1:0:0:0/block/sdb/removable = 1
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-3/1-3:1.0/host1/target1:0:0/1:0:0:0/block/sdb/size = 0

	sys/bus/pci/devices/0000:19:00.0 -> ../../../devices/pci0000:17/0000:19:00.0
	sys/devices/pci0000:17/0000:19:00.0/vendor = 0x14e4
	sys/devices/pci0000:17/0000:19:00.0/device = 0x16d7
	sys/devices/pci0000:17/0000:19:00.0/class = 0x020000
	sys/devices/pci0000:17/0000:19:00.0/driver -> ../../../bus/pci/drivers/bnxt_en
	sys/class/net/lo/address = 00:00:00:00:00:00
	sys/class/net/eth0 -> ../../devices/pci0000:17/0000:19:00.0/net/eth0
	sys/devices/pci0000:17/0000:19:00.0/net/eth0/device -> ../..
	sys/devices/pci0000:17/0000:19:00.0/net/eth0/address = e4:43:4b:00:00:01
	sys/devices/pci0000:17/0000:19:00.0/net/eth0/bonding_slave/perm_hwaddr = e4:43:4b:00:00:02
	sys/devices/pci0000:17/0000:19:00.0/net/eth0/carrier = 1
	sys/devices/pci0000:17/0000:19:00.0/net/eth0/speed = 25000
	sys/class/net/usb0 -> ../../devices/pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0/net/usb0
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/idVendor = 413c
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/idProduct = a102
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0/driver -> ../../../../../../bus/usb/drivers/cdc_ether
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0/net/usb0/device -> ../..
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0/net/usb0/address = 54:48:10:00:00:03
	sys/devices/pci0000:00/0000:00:14.0/usb1/1-14/1-14:1.0/net/usb0/speed = 4294967295

	sys/bus/pci/devices/0000:00:00.0/class = 0x060000
	sys/bus/pci/devices/0000:3b:00.0/class = 0x020700
	sys/bus/pci/devices/0000:3b:00.0/vendor = 0x15b3
	sys/bus/pci/devices/0000:3b:00.0/device = 0x1017
	sys/bus/pci/devices/0000:5e:00.0/class = 0x02
`

func TestRack(t *testing.T) {
	root := plant(t, rack)
	variable(t, root, "SecureBoot", globalGUID, []byte{0})
	variable(t, root, "SetupMode", globalGUID, []byte{1})
	variable(t, root, "BootCurrent", globalGUID, []byte{0x0a, 0})
	variable(t, root, "Boot000A", globalGUID, unhex(t, networkOption))
	want := Machine{
		System: System{Vendor: "Dell Inc.", Product: "PowerEdge R640", Serial: "8XK2M33", UUID: "4c4c4544-0058-4b10-8032-b8c04f4d3333"},
		CPU:    CPU{Model: "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", Sockets: 2, Cores: 2, Threads: 3},
		Memory: Memory{Usable: 48952044 << 10, Installed: 48 << 30, Modules: 2, Slots: 3},
		Firmware: Firmware{UEFI: true, Vendor: "Dell Inc.", Version: "2.19.1", Date: "06/04/2023",
			SecureBoot: SecureBootSetup},
		Boot: Boot{Network: true, MAC: "e4:43:4b:00:00:02", Link: "eth0", Entry: "Boot000A", Description: "PXE Slot 1"},
		TPM:  &TPM{Version: "2.0", Driver: "tpm_tis"},
		Disks: []Disk{
			{Name: "sda", Bytes: 479559942144, Model: "PERC H740P Mini", Serial: "ab12", Transport: RAID, Rotational: true},
			{Name: "nvme0n1", Bytes: 1600321314816, Model: "Dell Express Flash PM1725b 1.6TB SFF", Serial: "S3X0NA0K", Transport: NVMe},
		},
		NICs: []NIC{
			{Name: "eth0", MAC: "e4:43:4b:00:00:02", Driver: "bnxt_en", Address: "0000:19:00.0", ID: "14e4:16d7", Carrier: true, SpeedMbit: 25000},
			{Name: "usb0", MAC: "54:48:10:00:00:03", Driver: "cdc_ether", ID: "413c:a102"},
		},
		Unclaimed: []PCIDevice{{"0000:3b:00.0", "15b3:1017", "0207"}},
	}
	if got := Read(root, nil); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// guest is QEMU's machine as it is booted directly, with a kernel from iPXE.
const guest = `
	sys/class/dmi/id/sys_vendor = QEMU
	sys/class/dmi/id/product_name = Standard PC (Q35 + ICH9, 2009)
	sys/class/dmi/id/bios_vendor = SeaBIOS
	sys/class/dmi/id/bios_version = 1.16.3-debian-1.16.3-2
	sys/class/dmi/id/bios_date = 04/01/2014
	proc/meminfo = MemTotal:        2012345 kB
	proc/cpuinfo = model name\t: QEMU Virtual CPU version 2.5+\nflags\t\t: fpu hypervisor
	sys/devices/system/cpu/cpu0/topology/physical_package_id = 0
	sys/devices/system/cpu/cpu0/topology/core_cpus_list = 0
	sys/block/vda -> ../devices/pci0000:00/0000:00:04.0/virtio1/block/vda
	sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/size = 2097152
	sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/serial = boot\x01disk
	sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/queue/rotational = 1
	sys/block/sda -> ../devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda
	sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/size = 4096
	sys/class/scsi_host/host0/proc_name = ahci
	sys/bus/pci/devices/0000:00:03.0 -> ../../../devices/pci0000:00/0000:00:03.0
	sys/devices/pci0000:00/0000:00:03.0/vendor = 0x1af4
	sys/devices/pci0000:00/0000:00:03.0/device = 0x1000
	sys/devices/pci0000:00/0000:00:03.0/class = 0x020000
	sys/devices/pci0000:00/0000:00:03.0/driver -> virtio-pci
	sys/class/net/eth0 -> ../../devices/pci0000:00/0000:00:03.0/virtio0/net/eth0
	sys/devices/pci0000:00/0000:00:03.0/virtio0/driver -> ../../../../bus/virtio/drivers/virtio_net
	sys/devices/pci0000:00/0000:00:03.0/virtio0/net/eth0/device -> ../..
	sys/devices/pci0000:00/0000:00:03.0/virtio0/net/eth0/address = 52:54:00:12:34:56
	sys/devices/pci0000:00/0000:00:03.0/virtio0/net/eth0/carrier = 1
`

func TestGuest(t *testing.T) {
	want := Machine{
		System:   System{Vendor: "QEMU", Product: "Standard PC (Q35 + ICH9, 2009)", Virtualisation: "qemu"},
		CPU:      CPU{Model: "QEMU Virtual CPU version 2.5+", Sockets: 1, Cores: 1, Threads: 1},
		Memory:   Memory{Usable: 2012345 << 10},
		Firmware: Firmware{Vendor: "SeaBIOS", Version: "1.16.3-debian-1.16.3-2", Date: "04/01/2014"},
		Boot:     Boot{Network: true, MAC: "52:54:00:12:34:56", Link: "eth0"},
		Disks: []Disk{
			{Name: "sda", Bytes: 2 << 20, Transport: SATA},
			{Name: "vda", Bytes: 1 << 30, Serial: "boot disk", Transport: Virtio, Rotational: true},
		},
		NICs: []NIC{{Name: "eth0", MAC: "52:54:00:12:34:56", Driver: "virtio_net", Address: "0000:00:03.0", ID: "1af4:1000", Carrier: true}},
	}
	got := Read(plant(t, guest), net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56})
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestOrder has more disks than there are letters, and more NICs than there are digits.
func TestOrder(t *testing.T) {
	var disks, nics, files []string
	for i := range 30 {
		name := "sd" + string(rune('a'+i%26))
		if i >= 26 {
			name = "sda" + string(rune('a'+i%26))
		}
		disks = append(disks, name)
		files = append(files, "sys/block/"+name+"/size = 8")
	}
	for i := range 12 {
		name := "eth" + strconv.Itoa(i)
		nics = append(nics, name)
		files = append(files, "sys/class/net/"+name+"/device/vendor = 0x8086")
	}
	m := Read(plant(t, strings.Join(files, "\n")), nil)
	var gotDisks, gotNICs []string
	for _, d := range m.Disks {
		gotDisks = append(gotDisks, d.Name)
	}
	for _, n := range m.NICs {
		gotNICs = append(gotNICs, n.Name)
	}
	if !slices.Equal(gotDisks, disks) || !slices.Equal(gotNICs, nics) {
		t.Errorf("got %v and %v", gotDisks, gotNICs)
	}
}

// TestBoard is an arm64 board without SMBIOS.
func TestBoard(t *testing.T) {
	got := Read(plant(t, `
		proc/device-tree/model = Radxa ROCK 5B\x00
		proc/device-tree/serial-number = 1c2a\x00
		proc/cpuinfo = CPU implementer\t: 0x41\nCPU part\t: 0xd0b
		sys/devices/system/cpu/cpu0/topology/core_cpus_list = 0
		sys/devices/system/cpu/cpu0/topology/physical_package_id = 0
		sys/class/tpm/tpm0/tpm_version_major = 1
		sys/block/mmcblk0 -> ../devices/platform/fe2e0000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0
		sys/devices/platform/fe2e0000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/device -> ../..
		sys/devices/platform/fe2e0000.mmc/mmc_host/mmc0/mmc0:0001/name = BJTD4R
		sys/devices/platform/fe2e0000.mmc/mmc_host/mmc0/mmc0:0001/serial = 0x6b2e
		sys/devices/platform/fe2e0000.mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0/size = 1
		sys/class/net/eth0 -> ../../devices/platform/fe1c0000.ethernet/net/eth0
		sys/devices/platform/fe1c0000.ethernet/net/eth0/device -> ../..
		sys/devices/platform/fe1c0000.ethernet/net/eth0/address = 00:e0:4c:00:00:09
		`), nil)
	want := Machine{
		System: System{Product: "Radxa ROCK 5B", Serial: "1c2a"},
		CPU:    CPU{Model: "implementer 0x41 part 0xd0b", Sockets: 1, Cores: 1, Threads: 1},
		TPM:    &TPM{Version: "1.2"},
		Disks:  []Disk{{Name: "mmcblk0", Bytes: 512, Model: "BJTD4R", Serial: "0x6b2e", Transport: MMC}},
		NICs:   []NIC{{Name: "eth0", MAC: "00:e0:4c:00:00:09"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNothing(t *testing.T) {
	if got := Read(t.TempDir(), nil); !reflect.DeepEqual(got, Machine{}) {
		t.Errorf("of an empty tree: %+v", got)
	}
}

func TestVirtualisation(t *testing.T) {
	for _, tt := range []struct{ vendor, product, flags, hypervisor, want string }{
		{"Dell Inc.", "PowerEdge R640", "fpu", "", ""},
		{"Dell Inc.", "PowerEdge R640", "fpu hypervisor", "", "unknown"},
		{"Dell Inc.", "PowerEdge R640", "fpu hypervisor", "xen", "xen"},
		{"Amazon EC2", "m7i.metal-24xl", "fpu", "", ""},
		{"Amazon EC2", "m7i.large", "fpu hypervisor", "", "ec2"},
		{"Microsoft Corporation", "Virtual Machine", "fpu hypervisor", "", "hyperv"},
		{"Microsoft Corporation", "Surface Hub", "fpu", "", ""},
		{"VMware, Inc.", "VMware7,1", "hypervisor", "", "vmware"},
		{"Red Hat", "KVM", "hypervisor", "", "kvm"},
	} {
		lines := "sys/class/dmi/id/sys_vendor = " + tt.vendor + "\nsys/class/dmi/id/product_name = " + tt.product +
			"\nproc/cpuinfo = flags\\t: " + tt.flags
		if tt.hypervisor != "" {
			lines += "\nsys/hypervisor/type = " + tt.hypervisor
		}
		if got := Read(plant(t, lines), nil).System.Virtualisation; got != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
}

func TestSecureBoot(t *testing.T) {
	for want, value := range map[SecureBoot][]byte{SecureBootOn: {1}, SecureBootOff: {0}, "": {0, 0}} {
		root := plant(t, "sys/firmware/efi/runtime = 0x0")
		variable(t, root, "SecureBoot", globalGUID, value)
		if got := Read(root, nil).Firmware; got != (Firmware{UEFI: true, SecureBoot: want}) {
			t.Errorf("%v: %+v", value, got)
		}
	}
}

func TestLoader(t *testing.T) {
	root := plant(t, "sys/firmware/efi/runtime = 0x0")
	variable(t, root, "LoaderDevicePartUUID", loaderGUID, wide("9C5FA9D5-7B0C-4C6D-A1F2-000000000001\x00"))
	variable(t, root, "LoaderImageIdentifier", loaderGUID, wide("\\EFI\\Linux\\ember.efi\x00"))
	variable(t, root, "BootCurrent", globalGUID, []byte{1, 0})
	variable(t, root, "Boot0001", globalGUID, unhex(t, diskOption))
	want := Boot{Entry: "Boot0001", Description: "UEFI OS", Partition: "9c5fa9d5-7b0c-4c6d-a1f2-000000000001", File: `\EFI\Linux\ember.efi`}
	if got := Read(root, nil).Boot; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestKexec: what the firmware says is true of the kernel before.
func TestKexec(t *testing.T) {
	for loader, want := range map[int]Boot{
		0x21: {Network: true, MAC: "e4:43:4b:00:00:02", Entry: "Boot0001", Description: "PXE Slot 1", Partition: "9c5f", File: "old.efi"}, // the EFI stub
		0xd0: {Kexec: true},
	} {
		root := plant(t, "proc/sys/kernel/bootloader_type = "+strconv.Itoa(loader))
		variable(t, root, "LoaderDevicePartUUID", loaderGUID, wide("9C5F\x00"))
		variable(t, root, "LoaderImageIdentifier", loaderGUID, wide("old.efi\x00"))
		variable(t, root, "BootCurrent", globalGUID, []byte{1, 0})
		variable(t, root, "Boot0001", globalGUID, unhex(t, networkOption))
		if got := Read(root, nil).Boot; got != want {
			t.Errorf("%#x: got %+v, want %+v", loader, got, want)
		}
		named := Read(root, net.HardwareAddr{2, 0, 0, 0, 0, 7}).Boot
		if !named.Network || named.MAC != "02:00:00:00:00:07" {
			t.Errorf("%#x: with a NIC on the command line: %+v", loader, named)
		}
	}
}

func TestModuleSize(t *testing.T) {
	raw := func(size ...byte) []byte { return append([]byte{17, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, size...) }
	for _, tt := range []struct {
		raw  []byte
		size uint64
		ok   bool
	}{
		{raw(0, 0), 0, true},
		{raw(0x40, 0x80), 64 << 10, true},
		{raw(0, 0x20), 8 << 30, true},
		{raw(0xff, 0xff), 0, false},
		{raw(0xff, 0x7f), 0, false},
		{raw(0), 0, false},
		{[]byte{16}, 0, false},
	} {
		if size, ok := moduleSize(tt.raw); size != tt.size || ok != tt.ok {
			t.Errorf("%x: %d, %v; want %d, %v", tt.raw, size, ok, tt.size, tt.ok)
		}
	}
}

func TestClassName(t *testing.T) {
	for class, want := range map[string]string{"0200": "Ethernet", "0280": "network", "0880": "system peripheral", "ff00": "class ff00", "": "class "} {
		if got := (PCIDevice{Class: class}).ClassName(); got != want {
			t.Errorf("%s is %q, want %q", class, got, want)
		}
	}
}

func FuzzUnitSerial(f *testing.F) {
	f.Add([]byte("\x00\x80\x00\x04ab12"))
	f.Fuzz(func(t *testing.T, page []byte) {
		if s := unitSerial(page); clean(s) != s {
			t.Errorf("%q is not clean", s)
		}
	})
}

func FuzzModuleSize(f *testing.F) {
	f.Add([]byte("\x11\x20\x00\x11\x00\x10\xfe\xff\x48\x00\x40\x00\xff\x7f\x09\x01\x41\x31\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if size, ok := moduleSize(raw); !ok && size != 0 || size > 1<<51 {
			t.Errorf("%d, %v", size, ok)
		}
	})
}
