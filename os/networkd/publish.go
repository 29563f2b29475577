package networkd

import (
	"cmp"
	"encoding/hex"
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/choose"
	"github.com/ember-os/ember/os/networkd/dnsname"
	"github.com/ember-os/ember/os/stage"
	"golang.org/x/sys/unix"
)

// sortedLinks are the links in the order of their names.
func (d *daemon) sortedLinks() []*link {
	var all []*link
	for _, l := range d.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *link) int { return cmp.Or(len(a.name)-len(b.name), strings.Compare(a.name, b.name)) })
	return all
}

func (d *daemon) chosenLink() *link {
	for _, l := range d.links {
		if d.chosen != "" && l.name == d.chosen {
			return l
		}
	}
	return nil
}

// publish tells the rest of the system what has changed.
func (d *daemon) publish(online bool) {
	s := netstate.State{Settled: d.settled, Online: online, Link: d.chosen}
	if l := d.chosenLink(); l != nil {
		d.names(l, &s)
	} else { // what was known stays good for those who still try
		s.DNS, s.Search, s.NTP, s.Domain = d.shown.DNS, d.shown.Search, d.shown.NTP, d.shown.Domain
	}
	s.Hostname = d.hostname()
	for _, l := range d.sortedLinks() {
		s.Links = append(s.Links, d.netstateLink(l))
	}
	if reflect.DeepEqual(s, d.shown) && !d.unwritten {
		return
	}
	var errs []error
	if s.Hostname != "" && (s.Hostname != d.shown.Hostname || s.Domain != d.shown.Domain || d.unwritten) {
		errs = append(errs, unix.Sethostname([]byte(s.Hostname)), d.etc.WriteHostname(s.Hostname, s.Domain))
	}
	if d.chosen != "" {
		errs = append(errs, d.etc.WriteResolv(s.Search, s.DNS))
	}
	now := time.Now()
	d.unwritten = d.fails("writing names and name servers", errors.Join(errs...), now)
	if d.fails("telling programs of the network", s.Write(filepath.Join(d.Root, netstate.Path)), now) {
		return
	}
	wasSettled := d.shown.Settled
	d.shown = s
	d.tell(wasSettled)
}

// tell tells the service manager.
func (d *daemon) tell(wasSettled bool) {
	status := d.statusFields()
	message := "STATUS=" + status
	switch {
	case !d.settled || status == d.status && wasSettled:
		return
	case !wasSettled:
		message = "READY=1\n" + message
	}
	d.status = status
	d.Notify(message)
}

// mostNames is how many name servers, time servers and search domains are used: no
// network needs so many, and its answers may be hostile.
const mostNames = 16

// names takes the names and servers that come with a link.
func (d *daemon) names(l *link, s *netstate.State) {
	if c := d.IPAM; c != nil {
		s.DNS, s.NTP = slices.Clone(c.DNS), slices.Clone(c.NTP)
		s.Search = dnsname.CleanAll(c.Search)
		_, domain, _ := strings.Cut(dnsname.Clean(c.Hostname), ".")
		s.Domain = domain
	}
	if l.lease != nil {
		s.DNS = append(s.DNS, l.lease.DNS...)
		for _, a := range l.lease.NTP {
			s.NTP = append(s.NTP, a.String())
		}
		s.Domain = l.lease.Domain
		s.Search = append(s.Search, l.lease.Search...)
	}
	if l.lease6 != nil {
		s.DNS = append(s.DNS, zoned(l.lease6.DNS, l.name)...)
		s.NTP = append(s.NTP, l.lease6.NTP...)
		s.Search = append(s.Search, l.lease6.Search...)
	}
	now := time.Now()
	for _, r := range l.sortedRouters() {
		if !now.Before(r.heard.Add(r.DNSLifetime)) {
			continue
		}
		s.DNS = append(s.DNS, zoned(r.DNS, l.name)...)
		s.Search = append(s.Search, r.Search...)
	}
	s.DNS, s.NTP, s.Search = most(s.DNS), most(s.NTP), most(dnsname.CleanAll(append(s.Search, s.Domain)))
}

// most gives the first of a list's elements, each once, up to mostNames.
func most[T comparable](list []T) []T {
	var once []T
	for _, e := range list {
		if len(once) < mostNames && !slices.Contains(once, e) {
			once = append(once, e)
		}
	}
	return once
}

// zoned gives addresses that are good on one link only the link's name.
func zoned(addresses []netip.Addr, link string) []netip.Addr {
	all := slices.Clone(addresses)
	for i, a := range all {
		if a.Is6() && a.IsLinkLocalUnicast() {
			all[i] = a.WithZone(link)
		}
	}
	return all
}

// hostname is the name that the machine is to have, "" as long as nothing is known.
func (d *daemon) hostname() string {
	if d.IPAM != nil {
		if name := dnsname.Host(d.IPAM.Hostname); name != "" {
			return name
		}
	}
	l := d.chosenLink()
	if l != nil && l.lease != nil && l.lease.Hostname != "" {
		return l.lease.Hostname
	}
	if d.shown.Hostname != "" || !d.settled {
		return d.shown.Hostname
	}
	mac := d.HWAddr
	if l != nil {
		mac = l.hardware()
	} else if links := d.sortedLinks(); mac == nil && len(links) > 0 {
		mac = links[0].hardware()
	}
	if len(mac) == 0 {
		return "ember"
	}
	return "ember-" + hex.EncodeToString(mac[max(0, len(mac)-3):])
}

func (d *daemon) netstateLink(l *link) netstate.Link {
	n := netstate.Link{
		Name: l.name, MAC: l.hardware().String(), Driver: l.driver, Carrier: l.carrier, SpeedMbit: l.speed, MTU: l.mtu, Note: d.note(l),
	}
	if l.kind == "bond" || l.kind == "vlan" {
		n.Kind = l.kind
	}
	n.Master = l.bond
	if l.role == configured {
		n.Addresses = d.addresses(l)
	}
	return n
}

// note is what people want to know of a link that is not the machine's network.
func (d *daemon) note(l *link) string {
	switch {
	case l.role == ignored:
		return "not asked for"
	case l.role == member && l.lacking:
		return "not in " + l.bond
	case l.role == member:
		return "part of " + l.bond
	case l.role == parent && l.lacking:
		return "no VLAN " + strconv.Itoa(l.vlan)
	case l.role == parent:
		return "carries " + vlanName(l.name, l.vlan)
	case !l.carrierUp():
		return "no carrier"
	case len(l.inUse) > 0:
		return "address is in use"
	case l.rank == choose.Nothing && l.stale:
		return "lease not confirmed"
	case l.rank == choose.Nothing && len(d.addresses(l)) == 0:
		return "no address"
	case l.rank == choose.Nothing:
		return "no usable address"
	case l.rank == choose.RouteLess:
		return "no default route"
	case l.name != d.chosen:
		return "in reserve"
	}
	return ""
}

// statusFields is the state in fields of a stage line.
func (d *daemon) statusFields() string {
	l := d.chosenLink()
	if l == nil {
		return stage.FormatFields(stage.Field{Key: "link", Value: "none"}, stage.Field{Key: "why", Value: d.why()})
	}
	fields := []stage.Field{{Key: "link", Value: l.name}}
	for _, a := range d.addresses(l) {
		// the first with a gateway, else the first
		if a.Gateway.IsValid() || l.rank != choose.Routed || d.isLocal() {
			fields = append(fields, stage.Field{Key: "address", Value: a.Prefix.String()},
				stage.Field{Key: "gateway", Value: gateway(a.Gateway)}, stage.Field{Key: "by", Value: string(a.Source)})
			break
		}
	}
	return stage.FormatFields(fields...)
}

func gateway(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}

// why says what keeps the machine from having a network.
func (d *daemon) why() string {
	var notes []string
	links := map[string][]string{}
	for _, l := range d.sortedLinks() {
		if l.role != configured && (l.role != parent || !l.lacking) {
			continue
		}
		n := d.note(l)
		if links[n] == nil {
			notes = append(notes, n)
		}
		links[n] = append(links[n], l.name)
	}
	if len(notes) == 0 {
		return "no network card that was asked for"
	}
	for i, n := range notes {
		notes[i] = n + " on " + strings.Join(links[n], ",")
	}
	return strings.Join(notes, "; ")
}
