package status

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/os/crash"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/timed"
)

// Lines is the report for people.
func (r Report) Lines() []string {
	var b block
	h := r.Hardware
	b.row("ember", r.Version, prefixed("Linux ", r.Kernel), "up "+r.Uptime.Truncate(time.Second).String())
	b.row("machine", strings.TrimSpace(h.System.Vendor+" "+h.System.Product), prefixed("serial ", h.System.Serial),
		prefixed("virtual: ", h.System.Virtualisation))
	b.cpu(h.CPU)
	b.memory(h.Memory)
	b.firmware(h.Firmware)
	b.boot(h.Boot)
	if h.TPM == nil {
		b.row("tpm", "none")
	} else {
		b.row("tpm", h.TPM.Version, h.TPM.Driver)
	}
	b.disks(h.Disks)
	b.links(h.NICs, r.Network.Links, r.Uptime)
	b.unclaimed(h.Unclaimed)
	b.network(r.Network)
	b.clock(r.Clock)
	b.services(r.Services)
	b.health(r.Health, r.Uptime)
	b.lastBoot(r.LastBoot)
	for _, p := range r.Problems {
		b.row("problem", p)
	}
	return b
}

func (b *block) network(n netstate.State) {
	state := "offline"
	if n.Online {
		state = "online by " + n.Link
	}
	name := n.Hostname
	if n.Domain != "" && !strings.Contains(name, ".") {
		name += "." + n.Domain
	}
	var dns []string
	for _, a := range n.DNS {
		dns = append(dns, a.String())
	}
	b.row("network", state, name, prefixed("dns ", strings.Join(dns, " ")), prefixed("ntp ", strings.Join(n.NTP, " ")))
}

func (b *block) clock(c timed.State) {
	if !c.Synchronised {
		b.row("clock", "not synchronised", c.Why)
		return
	}
	b.row("clock", "synchronised by "+c.Source, fmt.Sprint("stratum ", c.Stratum), fmt.Sprintf("was off by %v", c.Offset.Round(time.Microsecond)),
		prefixed("since then: ", c.Why))
}

const failed = "failed" // a State

func (b *block) services(services []Service) {
	states := map[string][]string{}
	problems := 0
	for _, s := range services {
		states[s.State] = append(states[s.State], s.Name)
		if len(s.Problems) > 0 {
			problems++
		}
	}
	var items []string
	if names := states[failed]; names != nil {
		items = append(items, fmt.Sprint(len(names), " failed: ", strings.Join(names, " ")))
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		if state != failed {
			items = append(items, fmt.Sprint(len(states[state]), " ", state))
		}
	}
	if problems > 0 {
		items = append(items, count(problems, "unit file")+" with problems")
	}
	b.row("services", items...)
}

func (b *block) health(h health.Report, uptime time.Duration) {
	if h.Checks == nil {
		return
	}
	state := "healthy"
	if !h.Healthy {
		state = "not healthy"
	}
	b.row("health", fmt.Sprintf("%s for %v", state, (uptime-h.Since).Truncate(time.Second)))
	for _, c := range h.Checks {
		if !c.Healthy || c.Flaps() {
			b.row("health", c.String())
		}
	}
}

func (b *block) lastBoot(l LastBoot) {
	if r := l.Reboot; r != nil {
		b.row("last boot", r.Text, date(r.Time), fmt.Sprint("after ", r.Uptime))
	}
	if l.Crash != nil {
		b.row("crash", describe(l.Crash))
	}
	for _, r := range l.Resets {
		b.row("reset", r.String())
	}
}

// describe says in a line what a kernel died of.
func describe(d *crash.Dump) string {
	if d.Reason == "" {
		return "a dump that can not be read"
	}
	text := d.Reason + ", " + date(d.Time)
	if d.Summary != "" {
		text = d.Reason + ", " + d.Summary + ", " + date(d.Time)
	}
	if d.Older > 0 {
		text += fmt.Sprintf(", and %s before", count(d.Older, "other dump"))
	}
	return text
}
