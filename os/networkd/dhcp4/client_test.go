package dhcp4

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var mac = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}

// sent is a message of the client.
type sent struct {
	*dhcpv4.DHCPv4
	to netip.Addr // the server; invalid for all
	at time.Duration
}

// world is what is around a client in a bubble of synctest, where waiting takes no
// time.
type world struct {
	*testing.T
	begun    time.Time
	messages chan sent
	answers  chan []byte
	carrier  chan bool
	leases   chan *Lease
}

func (w *world) Broadcast(b []byte) error { return w.Unicast(netip.Addr{}, b) }

func (w *world) Unicast(to netip.Addr, b []byte) error {
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		w.Error(err)
	}
	w.messages <- sent{m, to, time.Since(w.begun)}
	return nil
}

func (w *world) Receive() ([]byte, error) {
	b, ok := <-w.answers
	if !ok {
		return nil, io.EOF
	}
	return b, nil
}

func (w *world) Close() error {
	close(w.answers)
	return nil
}

// live runs a test with a client that has a carrier.
func live(t *testing.T, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t, time.Now(), make(chan sent, 1000), make(chan []byte), make(chan bool), make(chan *Lease, 1000)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		c := &Client{MAC: mac, Conn: w, Log: slog.New(slog.DiscardHandler), Changed: func(l *Lease) { w.leases <- l }}
		go func() { ended <- c.Run(ctx, w.carrier) }()
		w.carrier <- true
		f(w)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// next is the next message, which must be of that kind.
func (w *world) next(kind dhcpv4.MessageType) sent {
	w.Helper()
	m := <-w.messages
	if m.MessageType() != kind {
		w.Fatalf("the client sends %v, want %v", m.MessageType(), kind)
	}
	return m
}

// answer answers a message.
func (w *world) answer(m sent, kind dhcpv4.MessageType, with ...dhcpv4.Modifier) {
	w.Helper()
	r, err := dhcpv4.NewReplyFromRequest(m.DHCPv4, append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 7)), dhcpv4.WithServerIP(net.IPv4(10, 0, 0, 1)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 1))), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600),
	}, with...)...)
	if err != nil {
		w.Fatal(err)
	}
	w.answers <- r.ToBytes()
}

// lease goes through an exchange.
func (w *world) lease(with ...dhcpv4.Modifier) *Lease {
	w.Helper()
	w.answer(w.next(dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer, with...)
	w.answer(w.next(dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeAck, with...)
	return <-w.leases
}

// within tells whether a time is one, give or take a quarter.
func within(got, want time.Duration) bool { return got >= want*3/4 && got <= want*5/4 }

func TestRetries(t *testing.T) {
	live(t, func(w *world) {
		last := w.next(dhcpv4.MessageTypeDiscover)
		if last.at != 0 {
			t.Errorf("the first message comes after %v", last.at)
		}
		want := firstWait
		for range 100 {
			m := w.next(dhcpv4.MessageTypeDiscover)
			if !within(m.at-last.at, want) {
				t.Errorf("asks again after %v, want %v", m.at-last.at, want)
			}
			if m.TransactionID != last.TransactionID || time.Duration(m.NumSeconds) != m.at/time.Second {
				t.Errorf("message at %v: %v", m.at, m.Summary())
			}
			want, last = min(2*want, longestWait), m
		}
		w.answer(last, dhcpv4.MessageTypeOffer)
		w.answer(w.next(dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeAck)
		if l := <-w.leases; l.Address.String() != "10.0.0.7/24" {
			t.Errorf("the lease is %+v", l)
		}
	})
}

func TestMessages(t *testing.T) {
	live(t, func(w *world) {
		m := w.next(dhcpv4.MessageTypeDiscover)
		if m.ClassIdentifier() != "Ember" || string(m.Options.Get(dhcpv4.OptionClientIdentifier)) != "\x01"+string(mac) || m.IsBroadcast() {
			t.Errorf("the first message is %v", m.Summary())
		}
		for _, code := range []uint8{1, 3, 6, 12, 15, 26, 28, 42, 51, 54, 58, 59, 119, 121} {
			if !m.IsOptionRequested(dhcpv4.GenericOptionCode(code)) {
				t.Errorf("option %d is not asked for", code)
			}
		}
		w.answer(m, dhcpv4.MessageTypeOffer)
		r := w.next(dhcpv4.MessageTypeRequest)
		if !r.RequestedIPAddress().Equal(net.IPv4(10, 0, 0, 7)) || !r.ServerIdentifier().Equal(net.IPv4(10, 0, 0, 1)) || !r.ClientIPAddr.IsUnspecified() {
			t.Errorf("the request is %v", r.Summary())
		}
		// Nothing of this is an answer.
		for _, bad := range []dhcpv4.Modifier{
			dhcpv4.WithTransactionID(dhcpv4.TransactionID{}), dhcpv4.WithHwAddr(net.HardwareAddr{1, 2, 3, 4, 5, 6}),
			dhcpv4.WithYourIP(net.IPv4zero), dhcpv4.WithYourIP(net.IPv4bcast), dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer),
			dhcpv4.WithoutOption(dhcpv4.OptionServerIdentifier),
			func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootRequest },
		} {
			w.answer(r, dhcpv4.MessageTypeAck, bad)
		}
		w.answers <- []byte("junk")
		w.answer(r, dhcpv4.MessageTypeNak, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 0, 2))))
		synctest.Wait()
		if len(w.leases) > 0 || len(w.messages) > 0 {
			t.Errorf("the client believes everything: %d leases, %d messages", len(w.leases), len(w.messages))
		}
		w.answer(r, dhcpv4.MessageTypeAck)
		<-w.leases
	})
}

func TestSilentServer(t *testing.T) {
	live(t, func(w *world) {
		w.answer(w.next(dhcpv4.MessageTypeDiscover), dhcpv4.MessageTypeOffer)
		for range tries {
			w.next(dhcpv4.MessageTypeRequest)
		}
		w.lease()
	})
}

func TestRenew(t *testing.T) {
	live(t, func(w *world) {
		w.lease()
		m := w.next(dhcpv4.MessageTypeRequest)
		if !m.ClientIPAddr.Equal(net.IPv4(10, 0, 0, 7)) || m.to != netip.MustParseAddr("10.0.0.1") || m.ServerIdentifier() != nil || m.RequestedIPAddress() != nil || m.at != 30*time.Minute {
			t.Errorf("renews at %v with %v: %v", m.at, m.to, m.Summary())
		}
		w.answer(m, dhcpv4.MessageTypeAck, dhcpv4.WithOption(dhcpv4.OptRenewTimeValue(10*time.Minute)))
		<-w.leases
		if m := w.next(dhcpv4.MessageTypeRequest); m.at != 40*time.Minute {
			t.Errorf("renews at %v", m.at)
		}
	})
}

func TestRebindAndExpiry(t *testing.T) {
	live(t, func(w *world) {
		w.lease()
		const t2, end = time.Hour / 8 * 7, time.Hour
		renewals, rebindings := 0, 0
		m := <-w.messages
		for ; m.MessageType() == dhcpv4.MessageTypeRequest; m = <-w.messages {
			if m.to.IsValid() != (m.at < t2) {
				t.Errorf("at %v the client asks %v", m.at, m.to)
			}
			if m.at < t2 {
				renewals++
			} else {
				rebindings++
			}
		}
		if renewals < 2 || rebindings < 2 || renewals+rebindings > 30 {
			t.Errorf("%d renewals and %d rebindings", renewals, rebindings)
		}
		if l := <-w.leases; l != nil || m.at != end || !m.RequestedIPAddress().Equal(net.IPv4(10, 0, 0, 7)) {
			t.Errorf("at %v the lease is %v, and the client sends %v", m.at, l, m.Summary())
		}
		w.answer(m, dhcpv4.MessageTypeOffer)
		w.answer(w.next(dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeAck)
		if l := <-w.leases; l == nil {
			t.Error("no lease")
		}
	})
}

func TestForever(t *testing.T) {
	live(t, func(w *world) {
		if l := w.lease(dhcpv4.WithLeaseTime(0xffffffff)); l.Duration != 0 {
			t.Errorf("the lease is %+v", l)
		}
		time.Sleep(100 * 365 * 24 * time.Hour)
		if len(w.messages) > 0 || len(w.leases) > 0 {
			t.Error("a lease that never ends is renewed")
		}
	})
}

func TestRefused(t *testing.T) {
	live(t, func(w *world) {
		w.lease()
		w.answer(w.next(dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeNak)
		if l := <-w.leases; l != nil {
			t.Errorf("the lease is %+v", l)
		}
		last := time.Duration(0)
		for refused := range 10 {
			m := w.next(dhcpv4.MessageTypeDiscover)
			if m.RequestedIPAddress() != nil {
				t.Error("the client asks for the address that was refused")
			}
			if refused > 0 && !within(m.at-last, min(firstWait<<(refused+1), longestWait)) {
				t.Errorf("after %d refusals the client waits %v", refused, m.at-last)
			}
			last = m.at
			w.answer(m, dhcpv4.MessageTypeOffer)
			w.answer(w.next(dhcpv4.MessageTypeRequest), dhcpv4.MessageTypeNak)
		}
	})
}

// TestMoved has the carrier go and come back.
func TestMoved(t *testing.T) {
	live(t, func(w *world) {
		w.lease()
		back := func() sent {
			w.carrier <- false
			time.Sleep(time.Minute)
			w.carrier <- true
			m := w.next(dhcpv4.MessageTypeRequest)
			if m.to.IsValid() || m.ServerIdentifier() != nil || !m.RequestedIPAddress().Equal(net.IPv4(10, 0, 0, 7)) || !m.ClientIPAddr.IsUnspecified() {
				t.Errorf("the client asks %v: %v", m.to, m.Summary())
			}
			return m
		}
		w.answer(back(), dhcpv4.MessageTypeAck)
		if l := <-w.leases; l == nil {
			t.Error("the lease is lost, though it was confirmed")
		}
		w.answer(back(), dhcpv4.MessageTypeNak)
		if l := <-w.leases; l != nil {
			t.Errorf("the lease is %+v, though it was refused", l)
		}
		w.lease()
		back()
		for range tries - 1 {
			w.next(dhcpv4.MessageTypeRequest)
		}
		for range 10 { // nobody knows the lease
			w.next(dhcpv4.MessageTypeDiscover)
		}
		if len(w.leases) > 0 {
			t.Error("the lease is lost, though nobody refused it")
		}
		if l := <-w.leases; l != nil || time.Since(w.begun) > 2*time.Hour {
			t.Errorf("at %v the lease is %+v", time.Since(w.begun), l)
		}
	})
}

func TestNoCarrier(t *testing.T) {
	live(t, func(w *world) {
		w.lease()
		w.carrier <- false
		if l := <-w.leases; l != nil || time.Since(w.begun) != time.Hour || len(w.messages) > 0 {
			t.Errorf("at %v the lease is %+v, with %d messages", time.Since(w.begun), l, len(w.messages))
		}
		w.carrier <- true
		w.next(dhcpv4.MessageTypeDiscover)
	})
}

func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, answers: make(chan []byte)}
		close(w.answers)
		c := &Client{MAC: mac, Conn: broken{w}, Log: slog.New(slog.DiscardHandler)}
		if err := c.Run(t.Context(), nil); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

type broken struct{ *world }

func (broken) Close() error { return nil }
