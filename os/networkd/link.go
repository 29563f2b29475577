package networkd

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/networkd/choose"
	"github.com/ember-os/ember/os/networkd/dhcp4"
	"github.com/ember-os/ember/os/networkd/dhcp6"
	"github.com/ember-os/ember/os/networkd/ra"
	"github.com/ember-os/ember/os/stage"
)

// link is a link that has a role.
type link struct {
	info
	assignment
	driver   string
	speed    int // 0 if it is not known
	mtu0     int // before anyone changed it
	mtuTried int

	lacking  bool               // see lacks
	rising   bool               // it is being brought up, or will be once more
	failures int                // to bring it up, in a row
	cancel   context.CancelFunc // ends its clients
	done     sync.WaitGroup
	carriers chan bool       // to the DHCPv4 client
	modes    chan dhcp6.Mode // to the DHCPv6 client

	lease    *dhcp4.Lease          // nil for none
	expires  time.Duration         // when the lease ends, since kernel start; 0 for never
	given    []netstate.Address    // that we gave it
	wanted   []netstate.Address    // that were last to be given
	giving   time.Time             // when that was
	owned    map[netip.Prefix]bool // that we or an earlier daemon gave it, and nobody else
	inUse    map[netip.Addr]bool   // IPv6 addresses that another machine has, which was said
	lease6   *dhcp6.Lease
	expires6 time.Duration
	routers  map[netip.Addr]router
	asked    int       // for router advertisements since there was one
	askNext  time.Time // for them

	gained time.Time // the carrier; zero while there is none
	lost   time.Time // the carrier; zero while there is one, or before the first
	dead   bool      // its routes do not count
	stale  bool      // the lease is from before a longer loss of the carrier, and was not confirmed
	ready  time.Time // when it got its quality
	rank   choose.Quality
}

// router is a router and when it said so.
type router struct {
	ra.Advertisement
	heard time.Time
	mute  bool // it has not answered for its address since
}

// carrierBacklog is more changes of a carrier than a client can miss.
const carrierBacklog = 64

// retry is how long is waited before what failed is tried again.
const retry = time.Second

// start runs the clients of a link that is configured.
func (d *daemon) start(ctx context.Context, l *link) {
	ctx, l.cancel = context.WithCancel(ctx)
	l.carriers, l.modes = make(chan bool, carrierBacklog), make(chan dhcp6.Mode, carrierBacklog)
	if d.IPAM != nil {
		return
	}
	d.start4(ctx, l)
	if d.routers != nil {
		d.start6(ctx, l)
	}
}

func (d *daemon) start4(ctx context.Context, l *link) {
	log := d.Log.With("link", l.name)
	client := &dhcp4.Client{MAC: l.mac, Log: log}
	client.Changed = func(lease *dhcp4.Lease) {
		d.post(ctx, func() { d.setLease(l, lease) })
	}
	name, index, carriers := l.name, l.index, l.carriers
	l.done.Go(func() {
		for ctx.Err() == nil {
			conn, err := dhcp4.Open(name, index)
			if err == nil {
				client.Conn = conn
				err = client.Run(ctx, carriers)
			}
			if err != nil {
				log.Warn("DHCPv4 starts again", "err", err)
				pause(ctx)
			}
		}
	})
}

func (d *daemon) start6(ctx context.Context, l *link) {
	log := d.Log.With("link", l.name)
	client := &dhcp6.Client{MAC: l.mac, Log: log}
	client.Changed = func(lease *dhcp6.Lease) {
		d.post(ctx, func() { d.setLease6(l, lease) })
	}
	name, modes := l.name, l.modes
	l.done.Go(func() {
		for ctx.Err() == nil {
			conn, err := dhcp6.Open(name)
			if err == nil {
				client.Conn = conn
				err = client.Run(ctx, modes)
			}
			if err != nil {
				log.Warn("DHCPv6 starts again", "err", err)
				pause(ctx)
			}
		}
	})
}

// stop ends the clients of a link.
func (l *link) stop() {
	if l.cancel != nil {
		l.cancel()
		l.cancel = nil
	}
}

// pause is before another try.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(retry):
	}
}

func (d *daemon) setLease(l *link, lease *dhcp4.Lease) {
	l.expires, l.stale = 0, false
	if lease == nil {
		if l.lease != nil {
			d.Log.Warn("no lease any more", "link", l.name, "address", l.lease.Address)
		}
		l.lease = nil
		return
	}
	if l.lease == nil { // routers may have been asked before the network was there
		l.asked, l.askNext = 0, time.Time{}
	}
	lifetime := "ever"
	if lease.Duration > 0 {
		lifetime = lease.Duration.String()
		l.expires = stage.Now() + lease.Duration
	}
	if l.lease == nil || l.lease.Address != lease.Address {
		d.Log.Info("lease", "link", l.name, "address", lease.Address, "server", lease.Server, "for", lifetime)
	}
	l.lease = lease
}

func (d *daemon) setLease6(l *link, lease *dhcp6.Lease) {
	old := l.lease6
	l.lease6, l.expires6 = lease, 0
	if old != nil && (lease == nil || lease.Address != old.Address) {
		delete(l.inUse, old.Address)
	}
	switch {
	case lease == nil:
		d.Log.Warn("no IPv6 lease any more", "link", l.name, "address", old.Address)
		return
	case lease.Address.IsValid() && (old == nil || old.Address != lease.Address):
		d.Log.Info("lease", "link", l.name, "address", lease.Address, "for", lease.Duration)
	}
	if lease.Duration > 0 {
		l.expires6 = stage.Now() + lease.Duration
	}
}

// setMode tells the DHCPv6 client what it is for.
func (l *link) setMode(m dhcp6.Mode) {
	select {
	case l.modes <- m:
	default: // the client is stuck, and will be told of the next change
	}
}

// setCarrier notes that the carrier came or went.
func (d *daemon) setCarrier(l *link, up bool) {
	if up == !l.gained.IsZero() {
		return
	}
	if up {
		if !l.lost.IsZero() && !d.held(l, time.Now()) { // it may be another network
			l.routers, l.stale = nil, l.lease != nil
		}
		l.gained, l.lost, l.speed = time.Now(), time.Time{}, d.speed(l.name)
		d.Log.Info("carrier", "link", l.name)
	} else {
		l.gained, l.lost, l.speed = time.Time{}, time.Now(), 0
		l.asked, l.askNext, l.inUse = 0, time.Time{}, nil
		l.setMode(dhcp6.Off)
		d.Log.Warn("no carrier", "link", l.name)
	}
	select {
	case l.carriers <- up:
	default: // the client is stuck, and will be told of the next change
	}
}
