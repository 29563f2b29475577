package page

import (
	"encoding/json"
	"fmt"
	"strings"
)

// inventory is what is shown of a machine's "ember status --json".
type inventory struct {
	Version, Kernel string
	Hardware        struct {
		System struct{ Vendor, Product, Serial, Virtualisation string }
		CPU    struct {
			Model                   string
			Sockets, Cores, Threads int
		}
		Memory   struct{ Usable, Installed uint64 }
		Firmware struct {
			UEFI                              bool
			Vendor, Version, Date, SecureBoot string
		}
		TPM   struct{ Version, Driver string }
		Disks []struct {
			Name, Model, Serial, Transport string
			Bytes                          uint64
		}
		NICs []struct {
			Name, MAC, Driver string
			Carrier           bool
			SpeedMbit         int
		}
	}
	Services []struct{ Name, State string }
	Problems []string
}

// most is how many disks, and so on, are shown.
const most = 16

// readInventory reads what it understands of a status; nil of one that is of another kind. It is a machine's word.
func readInventory(status json.RawMessage) *inventory {
	if len(status) == 0 {
		return nil
	}
	i := new(inventory)
	if json.Unmarshal(status, i) != nil {
		return nil
	}
	h := &i.Hardware
	h.Disks, h.NICs, i.Problems = h.Disks[:min(len(h.Disks), most)], h.NICs[:min(len(h.NICs), most)], i.Problems[:min(len(i.Problems), most)]
	return i
}

// fact is a line of the inventory.
type fact struct{ Name, Text string }

// Facts are what is known, in the order in which "ember status" has them.
func (i *inventory) Facts() (facts []fact) {
	add := func(name string, parts ...string) {
		var said []string
		for _, part := range parts {
			if part != "" {
				said = append(said, clip(part, 200))
			}
		}
		if len(said) > 0 {
			facts = append(facts, fact{name, strings.Join(said, ", ")})
		}
	}
	h := i.Hardware
	add("System", strings.TrimSpace(h.System.Vendor+" "+h.System.Product), labelled("serial ", h.System.Serial), h.System.Virtualisation)
	add("Ember", i.Version, labelled("Linux ", i.Kernel))
	add("CPU", h.CPU.Model, number(h.CPU.Sockets, "socket"), number(h.CPU.Cores, "core"), number(h.CPU.Threads, "thread"))
	installed := ""
	if h.Memory.Installed > 0 {
		installed = size(h.Memory.Installed) + " installed"
	}
	usable := ""
	if h.Memory.Usable > 0 {
		usable = size(h.Memory.Usable) + " usable"
	}
	add("Memory", installed, usable)
	firmware := ""
	if h.Firmware.UEFI {
		firmware = "UEFI"
	}
	add("Firmware", firmware, strings.TrimSpace(h.Firmware.Vendor+" "+h.Firmware.Version), h.Firmware.Date, labelled("Secure Boot ", h.Firmware.SecureBoot))
	add("TPM", h.TPM.Version, h.TPM.Driver)
	for _, d := range h.Disks {
		bytes := ""
		if d.Bytes > 0 {
			bytes = decimal(d.Bytes)
		}
		add("Disk "+clip(d.Name, 32), bytes, d.Transport, d.Model, labelled("serial ", d.Serial))
	}
	for _, n := range h.NICs {
		carrier := "no carrier"
		if n.Carrier {
			carrier = "carrier"
			if n.SpeedMbit > 0 {
				carrier = fmt.Sprintf("%d Mbit/s", n.SpeedMbit)
			}
		}
		add("NIC "+clip(n.Name, 32), n.MAC, carrier, n.Driver)
	}
	failed := []string{}
	for _, s := range i.Services {
		if s.State == "failed" && len(failed) < most {
			failed = append(failed, s.Name)
		}
	}
	add("Failed", failed...)
	add("Problems", i.Problems...)
	return facts
}

func labelled(label, text string) string {
	if text == "" {
		return ""
	}
	return label + text
}

func number(n int, of string) string {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// size is in powers of 1024, as memory is; decimal in powers of 1000, as disks are.
func size(n uint64) string    { return unit(float64(n), 1024, "B", "KiB", "MiB", "GiB", "TiB") }
func decimal(n uint64) string { return unit(float64(n), 1000, "B", "kB", "MB", "GB", "TB", "PB") }

func unit(n, base float64, units ...string) string {
	i := 0
	for n >= base && i < len(units)-1 {
		n /= base
		i++
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") + " " + units[i]
}
