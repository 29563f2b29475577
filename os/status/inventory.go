package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/hardware"
	"github.com/ember-os/ember/os/netstate"
)

// maxRows is how many disks, NICs or devices have a row each; of more, those that
// are alike share one.
const maxRows = 6

func (b *block) cpu(c hardware.CPU) {
	if c.Threads == 0 { // no sysfs
		b.row("cpu", c.Model)
		return
	}
	b.row("cpu", c.Model, count(c.Sockets, "socket"), count(c.Cores, "core"), count(c.Threads, "thread"))
}

func (b *block) memory(m hardware.Memory) {
	if m.Usable == 0 { // no procfs
		return
	}
	installed := ""
	if m.Installed > 0 {
		installed = fmt.Sprintf("%s in %d of %s", memorySize(m.Installed), m.Modules, count(m.Slots, "slot"))
	}
	b.row("memory", installed, memorySize(m.Usable)+" usable")
}

func (b *block) firmware(f hardware.Firmware) {
	kind := ""
	switch {
	case f.UEFI:
		kind = "UEFI"
	case f.Vendor != "":
		kind = "BIOS"
	}
	b.row("firmware", kind, strings.TrimSpace(f.Vendor+" "+f.Version+prefixed(" of ", f.Date)), prefixed("Secure Boot ", string(f.SecureBoot)))
}

func (b *block) boot(o hardware.Boot) {
	how, from := "", ""
	if o.Kexec {
		how = "kexec"
	}
	if o.Network {
		from = "network by " + cmp.Or(o.Link, "a NIC without a driver") + prefixed(", ", o.MAC)
	}
	entry := o.Entry
	if o.Description != "" {
		entry += fmt.Sprintf(" %q", o.Description)
	}
	b.row("boot", how, from, entry, o.URI, prefixed("partition ", o.Partition), o.File)
}

func (b *block) disks(disks []hardware.Disk) {
	if len(disks) == 0 {
		b.row("disk", "none")
	}
	var kinds []hardware.Disk // the first of each kind
	names := map[hardware.Disk][]string{}
	for _, d := range disks {
		kind := d
		if len(disks) > maxRows {
			kind.Name, kind.Serial = "", ""
		}
		if names[kind] == nil {
			kinds = append(kinds, kind)
		}
		names[kind] = append(names[kind], d.Name)
	}
	for _, k := range kinds {
		how := string(k.Transport)
		if k.Rotational && k.Transport != hardware.Virtio { // which does not know
			how = strings.TrimSpace(how + " rotating")
		}
		group := names[k]
		name := group[0]
		if len(group) > 1 {
			name = fmt.Sprintf("%d disks %s to %s of", len(group), group[0], group[len(group)-1])
		}
		b.row("disk", name+" "+diskSize(k.Bytes)+" "+how, k.Model, prefixed("serial ", k.Serial))
	}
}

func (b *block) links(nics []hardware.NIC, links []netstate.Link, uptime time.Duration) {
	if len(nics) == 0 {
		b.row("nic", "none")
	}
	known := map[string]netstate.Link{}
	for _, l := range links {
		known[l.Name] = l
	}
	var dark []string
	for _, n := range nics {
		l := known[n.Name]
		delete(known, n.Name)
		if len(nics) > maxRows && !n.Carrier && l.Addresses == nil {
			dark = append(dark, n.Name)
			continue
		}
		state := "no carrier"
		if n.Carrier {
			state = "up"
		}
		if n.SpeedMbit > 0 && n.Carrier {
			state = fmt.Sprint(n.SpeedMbit, " Mbit/s")
		}
		b.row("nic", n.Name+" "+n.MAC+" "+state, n.Driver, n.ID, prefixed("in ", l.Master), note(l, state))
		b.addresses(l.Addresses, uptime)
	}
	b.row("nic", prefixed(fmt.Sprintf("%d without carrier: ", len(dark)), strings.Join(dark, " ")))
	for _, l := range links {
		if _, left := known[l.Name]; left {
			b.row(cmp.Or(l.Kind, "link"), l.Name+" "+l.MAC, note(l, ""))
			b.addresses(l.Addresses, uptime)
		}
	}
}

// note is what the network daemon says of a link, unless it is known already.
func note(l netstate.Link, state string) string {
	if l.Note == state {
		return ""
	}
	return l.Note
}

func (b *block) addresses(addresses []netstate.Address, uptime time.Duration) {
	for _, a := range addresses {
		from, until, gateway := "", "", ""
		if a.Server.IsValid() {
			from = " from " + a.Server.String()
		}
		if a.Gateway.IsValid() {
			gateway = "gateway " + a.Gateway.String()
		}
		if a.Expires != 0 {
			until = "for " + (a.Expires - uptime).Round(time.Second).String()
		}
		b.row("", a.Prefix.String()+" by "+string(a.Source)+from, gateway, until)
	}
}

func (b *block) unclaimed(devices []hardware.PCIDevice) {
	kinds := map[string][]hardware.PCIDevice{}
	for _, d := range devices {
		kinds[d.ID+d.Class] = append(kinds[d.ID+d.Class], d)
	}
	// Network and storage first: those are missed.
	order := slices.SortedFunc(maps.Values(kinds), func(x, y []hardware.PCIDevice) int {
		return cmp.Or(cmp.Compare(rank(x[0]), rank(y[0])), cmp.Compare(x[0].Address, y[0].Address))
	})
	for _, k := range order[:min(maxRows, len(order))] {
		more := ""
		if len(k) > 1 {
			more = fmt.Sprintf("and %d more", len(k)-1)
		}
		b.row("no driver", k[0].Address+" "+k[0].ID+" "+k[0].ClassName(), more)
	}
	if more := len(order) - maxRows; more > 0 {
		b.row("no driver", count(more, "more kind")+": ember status --json")
	}
}

func rank(d hardware.PCIDevice) int {
	switch {
	case strings.HasPrefix(d.Class, "02"):
		return 0
	case strings.HasPrefix(d.Class, "01"):
		return 1
	}
	return 2
}
