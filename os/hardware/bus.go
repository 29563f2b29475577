package hardware

import (
	"path/filepath"
	"strings"
)

const (
	links      = "sys/class/net"
	pciDevices = "sys/bus/pci/devices"
)

func (t tree) nics() []NIC {
	var nics []NIC
	for _, name := range t.list(links) {
		if !t.exists(links, name, "device") { // lo, bridges, bonds, ...
			continue
		}
		n := NIC{
			Name:      name,
			MAC:       t.text(links, name, "bonding_slave/perm_hwaddr"),
			Driver:    t.link(links, name, "device/driver"),
			Carrier:   t.number(links, name, "carrier") == 1,
			SpeedMbit: speed(t.number(links, name, "speed")),
		}
		if n.MAC == "" {
			n.MAC = t.text(links, name, "address")
		}
		n.Address, n.ID = t.busID(t.device(links, name, "device"))
		nics = append(nics, n)
	}
	return nics
}

// speed is in Mbit/s. Drivers that do not know it say -1, in 32 bits or in 64.
func speed(mbit uint64) int {
	if mbit > 1<<30 {
		return 0
	}
	return int(mbit)
}

// busID finds the device of the PCI or USB bus that a path in sysfs leads through
// last.
func (t tree) busID(path string) (address, id string) {
	for ; strings.HasPrefix(path, "sys/"); path = filepath.Dir(path) {
		if name := filepath.Base(path); t.exists(pciDevices, name) {
			return name, t.pciID(path)
		}
		if vendor := t.text(path, "idVendor"); vendor != "" {
			return "", vendor + ":" + t.text(path, "idProduct")
		}
	}
	return "", ""
}

func (t tree) pciID(path string) string {
	return bare(t.text(path, "vendor")) + ":" + bare(t.text(path, "device"))
}

// bare takes off the 0x.
func bare(s string) string { return strings.TrimPrefix(s, "0x") }

// bridgeClass are devices that work without a driver.
const bridgeClass = "06"

func (t tree) unclaimed() []PCIDevice {
	var devices []PCIDevice
	for _, address := range t.list(pciDevices) {
		class := bare(t.text(pciDevices, address, "class"))
		if len(class) != 6 || class[:2] == bridgeClass || t.exists(pciDevices, address, "driver") {
			continue
		}
		devices = append(devices, PCIDevice{address, t.pciID(filepath.Join(pciDevices, address)), class[:4]})
	}
	return devices
}

// classes are the names of the commonest PCI classes and subclasses: PCI Code and ID
// Assignment Specification 1.11.
var classes = map[string]string{
	"01": "storage", "0101": "IDE", "0104": "RAID", "0106": "SATA", "0107": "SAS", "0108": "NVMe",
	"02": "network", "0200": "Ethernet", "0207": "InfiniBand",
	"03": "display", "04": "multimedia", "05": "memory", "07": "communication", "0700": "serial port",
	"08": "system peripheral", "0b": "processor", "0c": "bus", "0c03": "USB", "0c05": "SMBus",
	"10": "encryption", "11": "signal processing", "12": "accelerator",
}

// ClassName is what a device does, for people, "class" and the number if it is
// nothing common.
func (d PCIDevice) ClassName() string {
	if name, ok := classes[d.Class]; ok {
		return name
	}
	if name, ok := classes[d.Class[:min(2, len(d.Class))]]; ok {
		return name
	}
	return "class " + d.Class
}
