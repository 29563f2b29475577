package hardware

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
)

// GUIDs of EFI variables.
const (
	globalGUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c" // UEFI 2.10, section 3.3
	loaderGUID = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f" // systemd's Boot Loader Interface
)

// variable is the value of an EFI variable, without its attributes.
func (t tree) variable(name, guid string) []byte {
	const attributes = 4
	b := t.bytes("sys/firmware/efi/efivars", name+"-"+guid)
	if len(b) < attributes {
		return nil
	}
	return b[attributes:]
}

// flag is a global variable of one byte.
func (t tree) flag(name string) (on, ok bool) {
	b := t.variable(name, globalGUID)
	if len(b) != 1 {
		return false, false
	}
	return b[0] == 1, true
}

// kexecLoader is kexec among the boot loaders that x86 Linux knows by number: its
// documentation of the boot protocol, type_of_loader.
const kexecLoader = 0xd

func (t tree) boot(mac net.HardwareAddr, nics []NIC) Boot {
	b := Boot{Kexec: t.number("proc/sys/kernel/bootloader_type")>>4 == kexecLoader}
	if !b.Kexec {
		var from net.HardwareAddr
		b, from = t.firmwareBoot()
		if mac == nil {
			mac = from
		}
	}
	if mac != nil {
		b.Network = true
		b.MAC = mac.String()
		for _, n := range nics {
			if n.MAC == b.MAC {
				b.Link = n.Name
			}
		}
	}
	return b
}

// firmwareBoot is what the firmware, and the stub that it started, say of the boot. After a
// kexec that is still the boot of the kernel before.
func (t tree) firmwareBoot() (b Boot, mac net.HardwareAddr) {
	b.Partition = strings.ToLower(clean(ucs2(t.variable("LoaderDevicePartUUID", loaderGUID))))
	b.File = clean(ucs2(t.variable("LoaderImageIdentifier", loaderGUID)))
	current := t.variable("BootCurrent", globalGUID)
	if len(current) != 2 {
		return b, nil
	}
	b.Entry = fmt.Sprintf("Boot%04X", binary.LittleEndian.Uint16(current))
	o, _ := ParseLoadOption(t.variable(b.Entry, globalGUID)) // as much of it as makes sense
	b.take(o)
	return b, o.MAC
}

func (b *Boot) take(o LoadOption) {
	b.Description = clean(o.Description)
	b.URI = clean(o.URI)
	b.Network = o.MAC != nil || b.URI != ""
	if b.Partition == "" {
		b.Partition = o.Partition
	}
	if b.File == "" {
		b.File = clean(o.File)
	}
}
