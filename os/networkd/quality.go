package networkd

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ember-os/ember/os/networkd/choose"
)

func (l *link) carrierUp() bool { return !l.gained.IsZero() }

// held tells whether a link has a carrier, or had one a moment ago.
func (d *daemon) held(l *link, now time.Time) bool {
	return l.carrierUp() || !l.lost.IsZero() && now.Before(l.lost.Add(d.hold))
}

// candidates are the links that are configured, with what they are good for now. One
// whose lease is stale is good for nothing as long as there is another way out; that of
// the chosen one has a moment in which to be confirmed.
func (d *daemon) candidates(now time.Time) []choose.Candidate {
	qualities, sure := map[*link]choose.Quality{}, false
	for _, l := range d.links {
		if l.role != configured {
			continue
		}
		if !l.carrierUp() && d.held(l, now) {
			d.at(l.lost.Add(d.hold))
		}
		d.expireRouters(l, now)
		qualities[l] = d.quality(l, now)
		sure = sure || qualities[l] == choose.Routed && !l.stale
	}
	var all []choose.Candidate
	for l, q := range qualities {
		if sure && l.stale {
			if end := l.gained.Add(d.ipv4); l.name == d.chosen && now.Before(end) {
				d.at(end)
			} else {
				q = choose.Nothing
			}
		}
		if q != l.rank {
			l.rank, l.ready = q, now
		}
		all = append(all, choose.Candidate{Name: l.name, Quality: l.rank, Preference: l.preference, Ready: l.ready})
	}
	return all
}

// quality tells what a link is good for. IPv6 alone counts as soon as IPv4 has had
// its time: a network that has both is not complete before. It does not lose that
// again while the carrier flickers.
func (d *daemon) quality(l *link, now time.Time) choose.Quality {
	if !d.held(l, now) {
		return choose.Nothing
	}
	var has4, has6, out4, out6 bool
	for _, a := range d.addresses(l) {
		if a.Prefix.Addr().Is4() {
			has4 = has4 || !a.Prefix.Addr().IsLinkLocalUnicast()
			out4 = out4 || has4 && a.Gateway.IsValid()
		} else {
			usable := slices.ContainsFunc(l.addrs6, func(p netip.Prefix) bool { return p.Addr() == a.Prefix.Addr() })
			has6 = has6 || usable
			out6 = out6 || usable && a.Gateway.IsValid()
		}
	}
	if out6 && !has4 && d.IPAM == nil && l.carrierUp() && l.rank != choose.Routed {
		if t := l.gained.Add(d.ipv4); now.Before(t) {
			d.at(t)
			out6 = false
		}
	}
	switch {
	case out4 || out6 || (has4 || has6) && d.isLocal():
		return choose.Routed
	case has4 || has6:
		return choose.RouteLess
	}
	return choose.Nothing
}

// isLocal tells that the machine is to have no way out, by ipam without a gateway.
func (d *daemon) isLocal() bool { return d.IPAM != nil && !d.IPAM.Gateway.IsValid() }

func (d *daemon) expireRouters(l *link, now time.Time) {
	for address, r := range l.routers {
		end := r.heard.Add(max(r.Lifetime, r.DNSLifetime))
		if !now.Before(end) {
			delete(l.routers, address)
			continue
		}
		for _, t := range []time.Time{r.heard.Add(r.Lifetime), r.heard.Add(r.DNSLifetime)} {
			if now.Before(t) {
				d.at(t)
			}
		}
	}
}

// sortedRouters are the routers of a link, best first.
func (l *link) sortedRouters() []router {
	var all []router
	for _, r := range l.routers {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b router) int {
		if a.Preference != b.Preference {
			return b.Preference - a.Preference
		}
		return a.Router.Compare(b.Router)
	})
	return all
}

// gateway6 is the best default router that answers, else the best one; invalid if there is none.
func (l *link) gateway6(now time.Time) netip.Addr {
	var mute netip.Addr
	for _, r := range l.sortedRouters() {
		switch {
		case !now.Before(r.heard.Add(r.Lifetime)):
		case !r.mute:
			return r.Router
		case !mute.IsValid():
			mute = r.Router
		}
	}
	return mute
}
