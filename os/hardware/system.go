package hardware

import (
	"encoding/binary"
	"slices"
	"strings"
)

const dmi = "sys/class/dmi/id"

// blanks is what board makers leave in the firmware where a name should be.
var blanks = []string{
	"", "0", "0123456789", "1234567890", "123456789", "default string", "empty", "n/a", "na", "none", "not applicable",
	"not available", "not specified", "o.e.m.", "oem", "product name", "system manufacturer", "system product name",
	"system serial number", "system version", "to be filled by o.e.m.", "unknown", "xxxxxxxxxx",
}

// dmi is the first of the files with something in it.
func (t tree) dmi(names ...string) string {
	for _, name := range names {
		if s := t.text(dmi, name); !slices.Contains(blanks, strings.ToLower(s)) {
			return s
		}
	}
	return ""
}

func (t tree) system() System {
	s := System{
		Vendor:   t.dmi("sys_vendor", "board_vendor"),
		Product:  t.dmi("product_name", "board_name"),
		Version:  t.dmi("product_version"),
		Serial:   t.dmi("product_serial", "board_serial", "chassis_serial"),
		UUID:     t.dmi("product_uuid"),
		AssetTag: t.dmi("chassis_asset_tag"),
	}
	if s.Product == "" { // a board without SMBIOS
		s.Product = t.text("proc/device-tree/model")
		s.Serial = t.text("proc/device-tree/serial-number")
	}
	s.Virtualisation = t.virtualisation(s)
	return s
}

// hypervisors are known by how they name the machine that they show. Some makers
// name their real machines as their virtual ones: those count as virtual only if
// the processor says so.
var hypervisors = []struct {
	vendor, product, name string // what the strings begin with
	alsoReal              bool
}{
	{"QEMU", "", "qemu", false},
	{"", "KVM", "kvm", false},
	{"Red Hat", "", "kvm", true},
	{"VMware", "", "vmware", false},
	{"Microsoft Corporation", "Virtual Machine", "hyperv", false},
	{"innotek GmbH", "", "virtualbox", false},
	{"Xen", "", "xen", false},
	{"Parallels", "", "parallels", false},
	{"Bochs", "", "bochs", false},
	{"Amazon EC2", "", "ec2", true},
	{"Google", "Google Compute Engine", "gce", true},
	{"OpenStack Foundation", "", "openstack", true},
	{"DigitalOcean", "", "kvm", true},
	{"Apple Inc.", "Apple Virtualization", "apple", false},
}

func (t tree) virtualisation(s System) string {
	// On x86 a bit of CPUID that is clear on every real processor.
	flagged := slices.Contains(strings.Fields(cpuinfo(string(t.bytes("proc/cpuinfo")), "flags")), "hypervisor")
	for _, h := range hypervisors {
		if strings.HasPrefix(s.Vendor, h.vendor) && strings.HasPrefix(s.Product, h.product) && (flagged || !h.alsoReal) {
			return h.name
		}
	}
	if name := t.text("sys/hypervisor/type"); name != "" {
		return name
	}
	if flagged {
		return "unknown"
	}
	return ""
}

func (t tree) firmware() Firmware {
	f := Firmware{
		UEFI:    t.exists("sys/firmware/efi"),
		Vendor:  t.dmi("bios_vendor"),
		Version: t.dmi("bios_version"),
		Date:    t.dmi("bios_date"),
	}
	if on, ok := t.flag("SecureBoot"); ok {
		setup, _ := t.flag("SetupMode")
		switch {
		case on:
			f.SecureBoot = SecureBootOn
		case setup:
			f.SecureBoot = SecureBootSetup
		default:
			f.SecureBoot = SecureBootOff
		}
	}
	return f
}

func (t tree) tpm() *TPM {
	const first = "sys/class/tpm/tpm0"
	if !t.exists(first) {
		return nil
	}
	tpm := &TPM{Version: "1.2", Driver: t.link(first, "device/driver")}
	if t.number(first, "tpm_version_major") == 2 {
		tpm.Version = "2.0"
	}
	return tpm
}

func (t tree) memory() Memory {
	var m Memory
	kib, _, _ := strings.Cut(cpuinfo(string(t.bytes("proc/meminfo")), "MemTotal"), " ")
	m.Usable = parseUint(kib) << 10
	const entries = "sys/firmware/dmi/entries"
	for _, name := range t.list(entries) {
		if !strings.HasPrefix(name, "17-") {
			continue
		}
		size, ok := moduleSize(t.bytes(entries, name, "raw"))
		if !ok {
			continue
		}
		m.Slots++
		if size > 0 {
			m.Modules++
			m.Installed += size
		}
	}
	return m
}

// moduleSize is the size of a memory module in bytes, 0 for an empty slot, from its
// entry in the SMBIOS table: DSP0134, section 7.18.
func moduleSize(raw []byte) (size uint64, ok bool) {
	const (
		memoryDevice = 17
		sizeOffset   = 0x0c
		extended     = 0x1c // since SMBIOS 2.7
		inKiB        = 1 << 15
		seeExtended  = 0x7fff
		unknown      = 0xffff
	)
	if len(raw) < sizeOffset+2 || raw[0] != memoryDevice {
		return 0, false
	}
	switch n := binary.LittleEndian.Uint16(raw[sizeOffset:]); {
	case n == unknown:
		return 0, false
	case n == seeExtended:
		if len(raw) < extended+4 || raw[1] < extended+4 {
			return 0, false
		}
		return uint64(binary.LittleEndian.Uint32(raw[extended:])&^(1<<31)) << 20, true
	case n&inKiB != 0:
		return uint64(n&^inKiB) << 10, true
	default:
		return uint64(n) << 20, true
	}
}
