// Package hardware says what machine this is: what sysfs, procfs, the firmware's
// tables and its variables tell, read once. What they do not tell stays empty; an
// inventory with a hole is worth more than an error.
//
// The types are the JSON document of "ember status --json": a field keeps its name
// and its unit for ever.
package hardware

import "net"

// Machine is the inventory.
type Machine struct {
	System    System
	CPU       CPU
	Memory    Memory
	Firmware  Firmware
	Boot      Boot
	TPM       *TPM        `json:",omitempty"`
	Disks     []Disk      `json:",omitempty"`
	NICs      []NIC       `json:",omitempty"`
	Unclaimed []PCIDevice `json:",omitempty"` // devices without a driver
}

// System is the machine as its maker calls it: see SMBIOS (DMTF DSP0134), types 1 to 3.
type System struct {
	Vendor         string `json:",omitempty"`
	Product        string `json:",omitempty"`
	Version        string `json:",omitempty"`
	Serial         string `json:",omitempty"`
	UUID           string `json:",omitempty"`
	AssetTag       string `json:",omitempty"`
	Virtualisation string `json:",omitempty"` // "kvm", "qemu", "vmware", ...; "" for real hardware
}

// CPU is all processors of the machine that are online.
type CPU struct {
	Model   string `json:",omitempty"`
	Sockets int
	Cores   int
	Threads int
}

// Memory is the main memory, in bytes.
type Memory struct {
	Usable    uint64 // by the kernel and everything above it
	Installed uint64 `json:",omitempty"` // in modules; 0 if the firmware does not tell
	Modules   int    `json:",omitempty"`
	Slots     int    `json:",omitempty"`
}

// Firmware is what started the kernel or its boot loader.
type Firmware struct {
	UEFI       bool
	Vendor     string     `json:",omitempty"`
	Version    string     `json:",omitempty"`
	Date       string     `json:",omitempty"` // as it is written there, most often mm/dd/yyyy
	SecureBoot SecureBoot `json:",omitempty"`
}

// SecureBoot is whether the firmware checks what it starts.
type SecureBoot string

// The states of Secure Boot; "" is a firmware that does not have it.
const (
	SecureBootOn    SecureBoot = "on"
	SecureBootOff   SecureBoot = "off"
	SecureBootSetup SecureBoot = "setup" // off, and whoever comes first may enrol keys
)

// Boot is how the machine came to this kernel, as far as that is known.
type Boot struct {
	Network     bool
	Kexec       bool   `json:",omitempty"` // by another kernel; what the firmware knows, from Entry on, is then of that one and is left out
	MAC         string `json:",omitempty"` // of the NIC that was booted from
	Link        string `json:",omitempty"` // the same NIC by its name
	Entry       string `json:",omitempty"` // the firmware's boot entry: "Boot0003"
	Description string `json:",omitempty"` // of that entry
	URI         string `json:",omitempty"` // of a boot by HTTP
	Partition   string `json:",omitempty"` // GUID of the partition that was booted from
	File        string `json:",omitempty"` // on that partition
}

// TPM is the Trusted Platform Module.
type TPM struct {
	Version string // "2.0" or "1.2"
	Driver  string `json:",omitempty"`
}

// Disk is a disk that a controller shows, a RAID volume among them, with or without
// a medium in use.
type Disk struct {
	Name       string // below /dev
	Bytes      uint64
	Model      string    `json:",omitempty"`
	Serial     string    `json:",omitempty"`
	Transport  Transport `json:",omitempty"`
	Rotational bool
}

// Transport is how a disk is attached.
type Transport string

// The transports; "" is one that is none of these.
const (
	NVMe        Transport = "nvme"
	NVMeFabrics Transport = "nvmeof"
	SATA        Transport = "sata"
	SAS         Transport = "sas"
	RAID        Transport = "raid"
	USB         Transport = "usb"
	MMC         Transport = "mmc"
	ISCSI       Transport = "iscsi"
	FC          Transport = "fc"
	Virtio      Transport = "virtio"
	Xen         Transport = "xen"
)

// NIC is a network interface that is hardware.
type NIC struct {
	Name      string
	MAC       string // its own, whatever a bond makes of it
	Driver    string `json:",omitempty"`
	Address   string `json:",omitempty"` // on the PCI bus: "0000:3b:00.0"
	ID        string `json:",omitempty"` // vendor and device on PCI or USB: "8086:1572"
	Carrier   bool
	SpeedMbit int `json:",omitempty"` // 0 if not known
}

// PCIDevice is a device on the PCI bus.
type PCIDevice struct {
	Address string // "0000:3b:00.0"
	ID      string // vendor and device: "8086:1572"
	Class   string // class and subclass: "0200"
}

// Read reads the inventory from sysfs and procfs below root, which is "/" but for
// tests. bootMAC is the NIC that the kernel command line says was booted from, nil
// if it does not say.
func Read(root string, bootMAC net.HardwareAddr) Machine {
	t := tree(root)
	m := Machine{
		System:    t.system(),
		CPU:       t.cpu(),
		Memory:    t.memory(),
		Firmware:  t.firmware(),
		TPM:       t.tpm(),
		Disks:     t.disks(),
		NICs:      t.nics(),
		Unclaimed: t.unclaimed(),
	}
	m.Boot = t.boot(bootMAC, m.NICs)
	return m
}

// Disks reads the part of the inventory that Machine has as Disks.
func Disks(root string) []Disk { return tree(root).disks() }
