package networkd

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/backoff"
	"github.com/ember-os/ember/os/networkd/choose"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/ember-os/ember/os/networkd/dnsname"
	"github.com/ember-os/ember/os/networkd/etcfiles"
	"github.com/ember-os/ember/os/networkd/ra"
)

// daemon is all that the daemon knows. Only its loop touches it: whoever else has
// something to say posts a function.
type daemon struct {
	Config
	waits
	events chan func()
	look   chan struct{} // the links have changed; holds one
	again  time.Time     // when to update even if nothing happens; zero for never

	links     map[int]*link             // by index
	installed map[route]bool            // as the kernel had them when the links were read, and what was changed since
	tried     map[route]attempt         // what is wanted
	left      map[string][]netip.Prefix // by links' names: what they had of an earlier daemon, or before they were forgotten
	adopted   map[int]bool              // links whose routes are ours to remove
	failing   map[string]bool           // what is tried again and again, which was said
	routers   *ra.Socket                // nil without IPv6

	search    choose.Search
	noCarrier time.Time // since when there is none; zero while there is one
	settled   bool
	chosen    string

	etc       etcfiles.Dir
	shown     netstate.State // as it is written
	unwritten bool           // names and name servers are not, and have to be
	status    string         // as it was told
}

// Run brings up the network and keeps it up until the context ends.
func Run(ctx context.Context, c Config) error {
	return c.run(ctx, waits{CarrierWait, Deadline, Hold, IPv4Wait, SolicitWait})
}

// waits are the constants of the same names.
type waits struct{ carrier, deadline, hold, ipv4, solicit time.Duration }

func (c Config) run(ctx context.Context, w waits) error {
	d := newDaemon(c, w)
	d.inherit()
	if s := d.IPAM; s != nil && s.Hostname != "" && dnsname.Host(s.Hostname) == "" {
		d.Log.Warn("the host name of ipam is not used: it holds more than letters, digits and dashes", "name", s.Hostname)
	}
	var err error
	if d.routers, err = ra.Listen(); err != nil {
		d.Log.Warn("there is no IPv6", "err", err)
	} else {
		defer d.routers.Close()
		go d.hear(ctx)
	}
	d.makeBonds()
	go d.watch(ctx, d.watchLinks)
	go d.watch(ctx, d.watchRouters)
	d.loop(ctx)
	for _, l := range d.links {
		l.stop()
	}
	for _, l := range d.links {
		l.done.Wait()
	}
	return nil
}

func newDaemon(c Config, w waits) *daemon {
	now := time.Now()
	return &daemon{
		Config:    c,
		waits:     w,
		events:    make(chan func()),
		look:      make(chan struct{}, 1),
		links:     map[int]*link{},
		installed: map[route]bool{},
		tried:     map[route]attempt{},
		left:      map[string][]netip.Prefix{},
		adopted:   map[int]bool{},
		failing:   map[string]bool{},
		search:    choose.Search{Best: c.best(), Begun: now},
		noCarrier: now,
		etc:       etcfiles.Dir(filepath.Join(c.Root, "etc")),
	}
}

// inherit takes over the names and servers of an earlier daemon, which stay good until
// the network says others, and learns which addresses it gave.
func (d *daemon) inherit() {
	old, err := netstate.Read(filepath.Join(d.Root, netstate.Path))
	if err != nil {
		d.Log.Warn("what an earlier networkd knew is lost", "err", err)
	}
	d.shown = netstate.State{Hostname: old.Hostname, Domain: old.Domain, Search: old.Search, DNS: old.DNS, NTP: old.NTP}
	for _, l := range old.Links {
		for _, a := range l.Addresses {
			if a.Source != netstate.SLAAC {
				d.left[l.Name] = append(d.left[l.Name], a.Prefix)
			}
		}
	}
	d.unwritten = true // it may have ended before it wrote them elsewhere
}

func (d *daemon) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-d.events:
			f()
		case <-d.look:
			d.readLinks(ctx)
		case <-timer.C:
		}
		d.again = time.Time{}
		d.update(time.Now())
		if d.again.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(d.again))
		}
	}
}

// post has the loop run f.
func (d *daemon) post(ctx context.Context, f func()) {
	select {
	case d.events <- f:
	case <-ctx.Done():
	}
}

// at has the loop update at that time at the latest.
func (d *daemon) at(t time.Time) {
	if d.again.IsZero() || t.Before(d.again) {
		d.again = t
	}
}

// fails tells whether something has failed. If so it has the loop update once more,
// which is to try it again, and says so unless the last try has failed too.
func (d *daemon) fails(what string, err error, now time.Time) bool {
	if err == nil {
		delete(d.failing, what)
		return false
	}
	if !d.failing[what] {
		d.Log.Error(what, "err", err)
	}
	d.failing[what] = true
	d.at(now.Add(retry))
	return true
}

// hear hands router advertisements to the loop.
func (d *daemon) hear(ctx context.Context) {
	for {
		index, a, err := d.routers.Receive()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.Log.Warn("hearing router advertisements", "err", err)
			pause(ctx)
			continue
		}
		d.post(ctx, func() {
			if l := d.links[index]; l != nil && l.role == configured {
				d.setRouter(l, a)
			}
		})
	}
}

// mostRouters is how many routers of a link are listened to: whoever is on the link
// can pretend to be any number of them.
const mostRouters = 16

func (d *daemon) setRouter(l *link, a ra.Advertisement) {
	old, known := l.routers[a.Router]
	if !known && len(l.routers) >= mostRouters {
		return
	}
	if old.Lifetime != a.Lifetime {
		d.Log.Info("router", "link", l.name, "address", a.Router, "lifetime", a.Lifetime, "managed", a.Managed, "other", a.Other)
	}
	if l.routers == nil {
		l.routers = map[netip.Addr]router{}
	}
	l.routers[a.Router] = router{Advertisement: a, heard: time.Now()}
	mode := dhcp6.Off
	for _, r := range l.routers {
		switch {
		case r.Managed:
			mode = dhcp6.Addresses
		case r.Other:
			mode = max(mode, dhcp6.Information)
		}
	}
	if mode != dhcp6.Off { // which the loss of the carrier says
		l.setMode(mode)
	}
}

// setMute notes that a router does not answer for its address any more.
func (d *daemon) setMute(index int, a netip.Addr) {
	l := d.links[index]
	if l == nil {
		return
	}
	if r, ok := l.routers[a]; ok && !r.mute {
		d.Log.Warn("router does not answer", "link", l.name, "address", a)
		r.mute = true
		l.routers[a] = r
	}
}

// longestSolicit is the longest wait before routers are asked once more (RFC 7559).
const longestSolicit = time.Hour

// solicit asks a link's routers to speak until one has spoken since the carrier came.
func (d *daemon) solicit(l *link, now time.Time) {
	for _, r := range l.routers {
		if r.heard.After(l.gained) {
			l.asked, l.askNext = 0, time.Time{}
			return
		}
	}
	if d.routers == nil || !l.carrier || !l.local6 {
		return
	}
	if !now.Before(l.askNext) {
		if err := d.routers.Solicit(l.name, l.index); err != nil {
			d.Log.Debug("IPv6", "link", l.name, "err", err)
		}
		l.askNext = now.Add(backoff.Wait(d.waits.solicit, longestSolicit, l.asked))
		l.asked++
	}
	d.at(l.askNext)
}

// update draws the consequences of what has changed.
func (d *daemon) update(now time.Time) {
	candidates := d.candidates(now)
	d.settle(now)
	chosen, again := d.search.Choose(candidates, d.chosen, now)
	if !again.IsZero() {
		d.at(again)
	}
	if chosen != d.chosen {
		d.Log.Info("network", "link", chosen, "before", d.chosen)
		d.chosen = chosen
	}
	online := false
	for _, c := range candidates {
		online = online || c.Name == chosen && c.Quality == choose.Routed
	}
	d.settled = d.settled || online || d.search.Deadline
	for _, l := range d.links {
		if l.role == configured {
			d.setDead(l, now)
			d.setMTU(l)
			d.setAddresses(l, now)
			d.solicit(l, now)
		}
	}
	d.setRoutes(now)
	d.publish(online)
}

// settle gives the search up when its time is over.
func (d *daemon) settle(now time.Time) {
	carrier := false
	for _, l := range d.links {
		carrier = carrier || l.role == configured && l.carrierUp()
	}
	if carrier {
		d.noCarrier = time.Time{}
	} else if d.noCarrier.IsZero() {
		d.noCarrier = now
	}
	if d.search.Deadline {
		return
	}
	end := d.search.Begun.Add(d.waits.deadline)
	if t := d.noCarrier.Add(d.waits.carrier); !d.noCarrier.IsZero() && t.Before(end) {
		end = t
	}
	d.at(end)
	d.search.Deadline = !now.Before(end)
}
