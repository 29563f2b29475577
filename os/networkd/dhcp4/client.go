// Package dhcp4 keeps an IPv4 lease on a link for as long as the machine runs: the
// client of RFC 2131 with the messages of insomniacslk/dhcp.
//
// It asks at once when there is a carrier and never gives up. It renews with the
// server that gave the lease (T1), then with any (T2), and begins anew when the
// lease expires or is refused. After a loss of the carrier it asks whether its lease
// still holds (INIT-REBOOT), because the cable may be in another switch; until the
// answer, or if nobody answers, the lease goes on.
//
// Departures from RFC 2131: the first offer is taken, without looking for better
// ones; there is no ARP probe and so no DHCPDECLINE, because it would cost a boot
// its seconds and servers probe themselves; the first wait for an answer is 1 s
// instead of 4; a renewal is tried again after at least 10 s instead of 60, so that
// short leases have more than one try; a lease is not released when the client
// stops, because the kernel that is booted next wants the same.
package dhcp4

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/ember-os/ember/os/networkd/backoff"
	"github.com/ember-os/ember/os/networkd/term"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

// The waits for answers: the first, the longest, and the least between renewals.
const (
	firstWait   = time.Second
	longestWait = 64 * time.Second
	renewWait   = 10 * time.Second
	warning     = 5 // messages without an answer until the client says so
	tries       = 4 // of a request, before the client looks for other servers
)

// Client is the client of one link.
type Client struct {
	MAC  net.HardwareAddr
	Conn Conn
	Log  *slog.Logger
	// Changed gets the lease whenever one is granted, renewed or changed, and nil
	// when it is lost. It is called by Run.
	Changed func(*Lease)

	state state
	lease *Lease
	last  netip.Addr // the address of the last lease
	offer *Lease

	request
	times   term.Times
	attempt int // messages sent in this state
	refused int // refusals since the last lease
}

type state int

const (
	waiting     state = iota // for a carrier
	pausing                  // after a refusal
	discovering              // SELECTING
	requesting
	confirming // REBOOTING
	bound
	renewing
	rebinding
)

// Run keeps the lease until the context or the conn ends; it closes the conn. It is
// told of the carrier on a channel, and waits for it first.
func (c *Client) Run(ctx context.Context, carrier <-chan bool) error {
	c.request.mac = c.MAC
	return term.Loop[bool]{Conn: c.Conn, Events: carrier, Times: &c.times, Event: c.setCarrier, Received: c.hear, Tick: c.tick}.Run(ctx)
}

func (c *Client) hear(b []byte) {
	if m, ok := reply(b, c.MAC, c.xid); ok {
		c.receive(m)
	}
}

func (c *Client) setCarrier(up bool) {
	switch {
	case !up:
		c.state, c.times.Wake = waiting, time.Time{}
	case c.state != waiting:
	case c.lease != nil:
		c.enter(confirming)
	default:
		c.enter(discovering)
	}
}

// enter begins an exchange of messages.
func (c *Client) enter(s state) {
	c.state, c.attempt = s, 0
	if s != requesting { // which goes on with the exchange of the offer
		c.xid, c.began = dhcpv4.TransactionID{}, time.Now()
		for i := range c.xid {
			c.xid[i] = byte(rand.Uint32())
		}
	}
	c.send()
}

// tick does what the time has come for.
func (c *Client) tick() {
	now := time.Now()
	if c.times.Expired(now) {
		c.Log.Warn("lease expired", "address", c.lease.Address)
		c.lose()
		if c.state != waiting && c.state != discovering && c.state != requesting {
			c.enter(discovering)
		}
		return
	}
	if !c.times.Due(now) {
		return
	}
	switch c.state {
	case pausing:
		c.enter(discovering)
	case bound:
		c.enter(renewing)
	case renewing:
		if !now.Before(c.times.T2) {
			c.enter(rebinding)
			return
		}
		c.send()
	case requesting, confirming:
		if c.attempt == tries {
			c.enter(discovering)
			return
		}
		c.send()
	default:
		c.send()
	}
}

// send sends the message of the state and says when the next one is due. An error
// is as bad as a message that gets lost.
func (c *Client) send() {
	c.times.Sent = time.Now()
	var err error
	switch c.state {
	case discovering:
		if c.attempt == warning {
			c.Log.Warn("no DHCP server answers so far")
		}
		err = c.Conn.Broadcast(c.discover(c.last).ToBytes())
	case requesting:
		err = c.Conn.Broadcast(c.accept(c.offer).ToBytes())
	case confirming:
		err = c.Conn.Broadcast(c.confirm(c.lease).ToBytes())
	case renewing:
		err = c.Conn.Unicast(c.lease.Server, c.extend(c.lease).ToBytes())
	case rebinding:
		err = c.Conn.Broadcast(c.extend(c.lease).ToBytes())
	}
	if err != nil {
		c.Log.Debug("sending to the DHCP server", "err", err)
	}
	switch c.state {
	case renewing:
		c.times.Wake = earlier(c.times.Sent.Add(max(c.times.T2.Sub(c.times.Sent)/2, renewWait)), c.times.T2)
	case rebinding:
		c.times.Wake = c.times.Sent.Add(max(c.times.Until.Sub(c.times.Sent)/2, renewWait))
	default:
		c.times.Wake = c.times.Sent.Add(backoff.Wait(firstWait, longestWait, c.attempt))
	}
	c.attempt++
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// receive handles an answer to the exchange that is going on.
func (c *Client) receive(m *dhcpv4.DHCPv4) {
	kind := m.MessageType()
	switch {
	case kind == dhcpv4.MessageTypeOffer && c.state == discovering:
		offer, err := parseLease(m)
		if err != nil {
			c.Log.Warn("unusable DHCP offer", "err", err)
			return
		}
		c.offer = offer
		c.enter(requesting)
	case c.state != requesting && c.state != confirming && c.state != renewing && c.state != rebinding:
	case kind == dhcpv4.MessageTypeAck:
		l, err := parseLease(m)
		if err != nil {
			c.Log.Warn("unusable DHCP acknowledgement", "err", err)
			return
		}
		c.bind(l)
	case kind == dhcpv4.MessageTypeNak && (c.state != requesting || addr(m.ServerIdentifier()) == c.offer.Server):
		c.Log.Warn("DHCP server refuses the address", "server", addr(m.ServerIdentifier()))
		c.lose()
		c.last = netip.Addr{}
		if c.refused++; c.refused == 1 {
			c.enter(discovering)
			return
		}
		c.state, c.times.Wake = pausing, time.Now().Add(backoff.Wait(firstWait, longestWait, c.refused))
	}
}

// bind takes a lease, which counts from when it was asked for.
func (c *Client) bind(l *Lease) {
	c.state, c.lease, c.last, c.offer, c.refused = bound, l, l.Address.Addr(), nil, 0
	c.times.Grant(l.Duration, l.T1, l.T2)
	c.Changed(l)
}

func (c *Client) lose() {
	if c.lease != nil {
		c.lease, c.times.Until = nil, time.Time{}
		c.Changed(nil)
	}
}
