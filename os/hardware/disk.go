package hardware

import (
	"slices"
	"strings"
)

const (
	blocks     = "sys/block"
	sectorSize = 512 // what sysfs counts in, whatever the disk does
)

// notDisks are the names of block devices that hold no data of their own, or a
// medium that people change.
var notDisks = []string{"dm-", "drbd", "fd", "loop", "md", "nbd", "ram", "rbd", "sr", "zram"}

func (t tree) disks() []Disk {
	var disks []Disk
	for _, name := range t.list(blocks) {
		isPrefix := func(p string) bool { return strings.HasPrefix(name, p) }
		// The kernel hides the paths to an NVMe namespace that has several.
		if slices.ContainsFunc(notDisks, isPrefix) || t.number(blocks, name, "hidden") == 1 {
			continue
		}
		d := t.disk(name)
		if d.Bytes == 0 && t.number(blocks, name, "removable") == 1 { // a card reader without a card
			continue
		}
		disks = append(disks, d)
	}
	return disks
}

func (t tree) disk(name string) Disk {
	d := Disk{
		Name:       name,
		Bytes:      t.number(blocks, name, "size") * sectorSize,
		Model:      t.text(blocks, name, "device/model"),
		Serial:     t.text(blocks, name, "device/serial"),
		Rotational: t.number(blocks, name, "queue/rotational") == 1,
		Transport:  t.transport(name),
	}
	if d.Model == "" {
		d.Model = t.text(blocks, name, "device/name") // MMC
	}
	if d.Serial == "" {
		d.Serial = t.text(blocks, name, "serial") // virtio
	}
	if d.Serial == "" {
		d.Serial = unitSerial(t.bytes(blocks, name, "device/vpd_pg80"))
	}
	return d
}

// unitSerial reads the page "Unit Serial Number" of a SCSI disk, which SATA disks
// have too: SPC-4, section 7.8.15.
func unitSerial(page []byte) string {
	const header = 4
	if len(page) < header || page[1] != 0x80 {
		return ""
	}
	length := int(page[2])<<8 | int(page[3])
	return clean(string(page[header:min(len(page), header+length)]))
}

// raidDrivers are those of the controllers whose disks are volumes.
var raidDrivers = []string{"3w-9xxx", "3w-sas", "aacraid", "arcmsr", "hpsa", "megaraid_mbox", "megaraid_sas", "mpi3mr", "smartpqi"}

// transports is what the path of a disk in sysfs shows, the most telling first.
var transports = []struct {
	part      string
	transport Transport
}{
	{"/usb", USB}, {"/session", ISCSI}, {"/rport-", FC}, {"/virtio", Virtio}, {"/vbd-", Xen}, {"/nvme", NVMe},
	{"/mmc", MMC}, {"/ata", SATA}, {"/end_device-", SAS},
}

func (t tree) transport(name string) Transport {
	path := "/" + t.device(blocks, name)
	if how := t.text(blocks, name, "device/transport"); how != "" && how != "pcie" && strings.Contains(path, "/nvme") {
		return NVMeFabrics
	}
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "host") && slices.Contains(raidDrivers, t.text("sys/class/scsi_host", part, "proc_name")) {
			return RAID
		}
	}
	for _, known := range transports {
		if strings.Contains(path, known.part) {
			return known.transport
		}
	}
	return ""
}
