// Package dhcp6 is the client of RFC 8415 for one link: an address that is kept for
// as long as the machine runs, or only the name and time servers, with the messages
// of insomniacslk/dhcp.
//
// Departures from RFC 8415: the first server that answers is taken, without looking
// for better ones for a second; after a loss of the carrier the client asks anew
// (Solicit) instead of for a confirmation, and keeps its address until the answer;
// it asks at least every 2 minutes instead of every hour; an address is not released
// when the client stops, because the kernel that is booted next wants the same.
package dhcp6

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/ember-os/ember/os/networkd/backoff"
	"github.com/ember-os/ember/os/networkd/term"
	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// The waits for answers (section 7.6): first and longest ones, and the number of
// requests before the client looks for other servers.
const (
	firstWait    = time.Second
	longestWait  = 2 * time.Minute
	firstRenewal = 10 * time.Second
	longestRenew = 10 * time.Minute
	tries        = 10
)

// Mode is what a router says that DHCPv6 is for.
type Mode int

// The modes.
const (
	Off         Mode = iota // nothing is asked; a lease stays until it expires
	Information             // for all but an address
	Addresses               // for everything
)

// Client is the client of one link.
type Client struct {
	MAC  net.HardwareAddr
	Conn Conn
	Log  *slog.Logger
	// Changed gets the lease whenever one is granted, renewed or changed, and nil
	// when it is lost. It is called by Run.
	Changed func(*Lease)

	state  state
	mode   Mode
	lease  *Lease
	server dhcpv6.DUID
	offer  *Lease

	refused int  // in a row
	warned  bool // of offers in this exchange that are of no use

	xid     dhcpv6.TransactionID
	began   time.Time // of the exchange
	times   term.Times
	attempt int
}

type state int

const (
	off state = iota
	soliciting
	requesting
	informing
	bound // or informed
	renewing
	rebinding
	pausing // after refusals
)

// messageTypes are the messages of the states.
var messageTypes = map[state]dhcpv6.MessageType{
	soliciting: dhcpv6.MessageTypeSolicit,
	requesting: dhcpv6.MessageTypeRequest,
	informing:  dhcpv6.MessageTypeInformationRequest,
	renewing:   dhcpv6.MessageTypeRenew,
	rebinding:  dhcpv6.MessageTypeRebind,
}

// Run does what the modes say until the context or the conn ends; it closes the
// conn. It begins with Off.
func (c *Client) Run(ctx context.Context, modes <-chan Mode) error {
	return term.Loop[Mode]{Conn: c.Conn, Events: modes, Times: &c.times, Event: c.setMode, Received: c.hear, Tick: c.tick}.Run(ctx)
}

func (c *Client) hear(b []byte) {
	if m, ok := c.reply(b); ok {
		c.receive(m)
	}
}

// reply reads a message to this client in this exchange. Others are not even parsed:
// anybody can send them.
func (c *Client) reply(b []byte) (*dhcpv6.Message, bool) {
	if len(b) < 4 || !bytes.Equal(b[1:4], c.xid[:]) {
		return nil, false
	}
	m, err := dhcpv6.MessageFromBytes(b)
	return m, err == nil && m.Options.ClientID() != nil && m.Options.ClientID().Equal(c.id())
}

func (c *Client) setMode(m Mode) {
	if m == c.mode {
		return
	}
	c.mode = m
	switch m {
	case Off:
		c.state, c.times.Wake = off, time.Time{}
	case Information:
		c.enter(informing)
	case Addresses:
		c.enter(soliciting)
	}
}

func (c *Client) enter(s state) {
	c.state, c.attempt, c.began, c.warned = s, 0, time.Now(), false
	for i := range c.xid {
		c.xid[i] = byte(rand.Uint32())
	}
	c.send()
}

func (c *Client) tick() {
	now := time.Now()
	if c.times.Expired(now) {
		c.lose()
		if c.state == renewing || c.state == rebinding || c.state == bound {
			c.enter(soliciting)
		}
		return
	}
	if !c.times.Due(now) {
		return
	}
	switch {
	case c.state == bound && c.mode == Information:
		c.enter(informing)
	case c.state == bound:
		c.enter(renewing)
	case c.state == renewing && !now.Before(c.times.T2):
		c.enter(rebinding)
	case c.state == requesting && c.attempt == tries, c.state == pausing:
		c.enter(soliciting)
	default:
		c.send()
	}
}

func (c *Client) id() dhcpv6.DUID {
	return &dhcpv6.DUIDLL{HWType: iana.HWTypeEthernet, LinkLayerAddr: c.MAC}
}

// send sends the message of the state and says when the next one is due. An error
// is as bad as a message that gets lost.
func (c *Client) send() {
	c.times.Sent = time.Now()
	if err := c.Conn.Send(c.message().ToBytes()); err != nil {
		c.Log.Debug("sending to the DHCPv6 servers", "err", err)
	}
	switch c.state {
	case renewing, rebinding:
		c.times.Wake = c.times.Sent.Add(backoff.Wait(firstRenewal, longestRenew, c.attempt))
		if c.state == renewing && c.times.Wake.After(c.times.T2) {
			c.times.Wake = c.times.T2
		}
	default:
		c.times.Wake = c.times.Sent.Add(backoff.Wait(firstWait, longestWait, c.attempt))
	}
	c.attempt++
}

func (c *Client) message() *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: messageTypes[c.state], TransactionID: c.xid}
	m.AddOption(dhcpv6.OptClientID(c.id()))
	m.AddOption(dhcpv6.OptElapsedTime(min(time.Since(c.began), 655*time.Second)))
	wanted := []dhcpv6.OptionCode{dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptionDomainSearchList, dhcpv6.OptionNTPServer}
	if c.state == informing {
		wanted = append(wanted, dhcpv6.OptionInformationRefreshTime)
	} else {
		m.AddOption(c.association())
	}
	if c.state == requesting || c.state == renewing {
		m.AddOption(dhcpv6.OptServerID(c.server))
	}
	m.AddOption(dhcpv6.OptRequestedOption(wanted...))
	return m
}

// association is the IA_NA, with the address that is wanted.
func (c *Client) association() *dhcpv6.OptIANA {
	ia := &dhcpv6.OptIANA{}
	copy(ia.IaId[:], c.MAC[max(0, len(c.MAC)-len(ia.IaId)):])
	wanted := c.lease
	if c.state == requesting {
		wanted = c.offer
	}
	if wanted != nil && wanted.Address.IsValid() {
		ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: wanted.Address.AsSlice()})
	}
	return ia
}

// receive handles an answer to the exchange that is going on.
func (c *Client) receive(m *dhcpv6.Message) {
	server := m.Options.ServerID()
	reply := m.MessageType == dhcpv6.MessageTypeReply
	switch {
	case server == nil:
	case c.state == soliciting && m.MessageType == dhcpv6.MessageTypeAdvertise:
		offer, err := parseLease(m)
		if err != nil {
			if !c.warned {
				c.Log.Warn("unusable DHCPv6 offer", "err", err)
			}
			c.warned = true
			return
		}
		c.offer, c.server = offer, server
		c.enter(requesting)
	case c.state == informing && reply:
		l := parseRest(m)
		c.bind(l)
		c.times.Wake = c.times.Sent.Add(max(m.Options.InformationRefreshTime(refresh), leastRefresh))
	case reply && (c.state == requesting && bytes.Equal(server.ToBytes(), c.server.ToBytes()) || c.state == renewing || c.state == rebinding):
		l, err := parseLease(m)
		if err != nil {
			c.Log.Warn("DHCPv6 server refuses the address", "err", err)
			c.offer = nil
			if c.refused++; c.refused == 1 { // the next server may have another, until ours expires
				c.enter(soliciting)
				return
			}
			c.state, c.times.Wake = pausing, time.Now().Add(backoff.Wait(firstWait, longestWait, c.refused))
			return
		}
		c.server = server
		c.bind(l)
	}
}

// bind takes a lease, which counts from when it was asked for.
func (c *Client) bind(l *Lease) {
	c.state, c.lease, c.offer, c.refused = bound, l, nil, 0
	c.times.Grant(l.Duration, l.T1, l.T2)
	c.Changed(l)
}

func (c *Client) lose() {
	c.lease, c.times.Until = nil, time.Time{}
	c.Changed(nil)
}
