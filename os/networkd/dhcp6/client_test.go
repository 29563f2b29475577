package dhcp6

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	mac    = net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	server = &dhcpv6.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte("a")}
	other  = &dhcpv6.DUIDEN{EnterpriseNumber: 32473, EnterpriseIdentifier: []byte("b")}
)

// sent is a message of the client.
type sent struct {
	*dhcpv6.Message
	at time.Duration
}

// world is what is around a client in a bubble of synctest, where waiting takes no
// time.
type world struct {
	*testing.T
	begun    time.Time
	messages chan sent
	answers  chan []byte
	modes    chan Mode
	leases   chan *Lease
	log      strings.Builder
}

func (w *world) Send(b []byte) error {
	m, err := dhcpv6.MessageFromBytes(b)
	if err != nil {
		w.Error(err)
	}
	w.messages <- sent{m, time.Since(w.begun)}
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

// live runs a test with a client that has been told what it is for.
func live(t *testing.T, mode Mode, f func(*world)) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t, time.Now(), make(chan sent, 10000), make(chan []byte), make(chan Mode), make(chan *Lease, 1000), strings.Builder{}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		c := &Client{MAC: mac, Conn: w, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Changed: func(l *Lease) { w.leases <- l }}
		go func() { ended <- c.Run(ctx, w.modes) }()
		w.modes <- mode
		f(w)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func (w *world) next(kind dhcpv6.MessageType) sent {
	w.Helper()
	m := <-w.messages
	if m.MessageType != kind {
		w.Fatalf("the client sends %v, want %v", m.MessageType, kind)
	}
	return m
}

func (w *world) answer(m sent, kind dhcpv6.MessageType, with ...dhcpv6.Modifier) {
	w.Helper()
	r, err := dhcpv6.NewMessage(append([]dhcpv6.Modifier{dhcpv6.WithClientID(m.Options.ClientID()), dhcpv6.WithServerID(server)}, with...)...)
	if err != nil {
		w.Fatal(err)
	}
	r.MessageType, r.TransactionID = kind, m.TransactionID
	w.answers <- r.ToBytes()
}

// address is an association with 2001:db8::7 for an hour.
func address(status ...dhcpv6.Option) dhcpv6.Modifier {
	ia := &dhcpv6.OptIANA{}
	ia.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("2001:db8::7"), PreferredLifetime: time.Hour, ValidLifetime: time.Hour})
	for _, s := range status {
		ia.Options.Add(s)
	}
	return dhcpv6.WithOption(ia)
}

func (w *world) lease() *Lease {
	w.Helper()
	w.answer(w.next(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise, address())
	w.answer(w.next(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply, address())
	return <-w.leases
}

func TestRetries(t *testing.T) {
	live(t, Addresses, func(w *world) {
		last := w.next(dhcpv6.MessageTypeSolicit)
		if last.at != 0 || last.Options.OneIANA() == nil || !slices.Contains(last.Options.RequestedOptions(), dhcpv6.OptionNTPServer) {
			t.Errorf("the first message, after %v, is %v", last.at, last.Summary())
		}
		want := firstWait
		for range 100 {
			m := w.next(dhcpv6.MessageTypeSolicit)
			if d := m.at - last.at; d < want*3/4 || d > want*5/4 {
				t.Errorf("asks again after %v, want %v", d, want)
			}
			want, last = min(2*want, longestWait), m
		}
		w.answer(last, dhcpv6.MessageTypeAdvertise, address())
		m := w.next(dhcpv6.MessageTypeRequest)
		if !m.Options.ServerID().Equal(server) || !m.Options.OneIANA().Options.OneAddress().IPv6Addr.Equal(net.ParseIP("2001:db8::7")) {
			t.Errorf("the request is %v", m.Summary())
		}
		w.answer(m, dhcpv6.MessageTypeReply, address())
		if l := <-w.leases; l.Address.String() != "2001:db8::7" || l.T1 != 30*time.Minute || l.T2 != 48*time.Minute {
			t.Errorf("the lease is %+v", l)
		}
	})
}

func TestNoAnswers(t *testing.T) {
	live(t, Addresses, func(w *world) {
		m := w.next(dhcpv6.MessageTypeSolicit)
		w.answer(m, dhcpv6.MessageTypeReply, address())
		w.answer(m, dhcpv6.MessageTypeAdvertise)
		w.answer(m, dhcpv6.MessageTypeAdvertise, address(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}))
		w.answer(m, dhcpv6.MessageTypeAdvertise, address(), dhcpv6.WithClientID(other))
		w.answer(m, dhcpv6.MessageTypeAdvertise, dhcpv6.WithIANA(dhcpv6.OptIAAddress{IPv6Addr: net.ParseIP("ff02::1"), ValidLifetime: time.Hour}))
		m.TransactionID[0]++
		w.answer(m, dhcpv6.MessageTypeAdvertise, address())
		w.answers <- []byte("junk")
		synctest.Wait()
		if len(w.messages) > 0 || len(w.leases) > 0 {
			t.Errorf("the client believes everything: %d messages, %d leases", len(w.messages), len(w.leases))
		}
		w.answer(w.next(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise, address())
		m = w.next(dhcpv6.MessageTypeRequest)
		w.answer(m, dhcpv6.MessageTypeReply, address(), dhcpv6.WithServerID(other))
		synctest.Wait()
		if len(w.leases) > 0 {
			t.Error("a server that was not asked gives a lease")
		}
		for range tries - 1 {
			w.next(dhcpv6.MessageTypeRequest)
		}
		w.lease()
	})
}

func TestRenewRebindAndExpiry(t *testing.T) {
	live(t, Addresses, func(w *world) {
		w.lease()
		m := w.next(dhcpv6.MessageTypeRenew)
		if m.at != 30*time.Minute || !m.Options.ServerID().Equal(server) {
			t.Errorf("renews at %v: %v", m.at, m.Summary())
		}
		w.answer(m, dhcpv6.MessageTypeReply, address())
		<-w.leases
		t1 := m.at
		renewals, rebindings := 0, 0
		for m = <-w.messages; m.MessageType != dhcpv6.MessageTypeSolicit; m = <-w.messages {
			switch {
			case m.MessageType == dhcpv6.MessageTypeRenew && m.at < t1+48*time.Minute:
				renewals++
			case m.MessageType == dhcpv6.MessageTypeRebind && m.at >= t1+48*time.Minute && m.Options.ServerID() == nil:
				rebindings++
			default:
				t.Errorf("at %v the client sends %v", m.at, m.Summary())
			}
		}
		if l := <-w.leases; l != nil || m.at != t1+time.Hour || renewals < 2 || rebindings < 2 {
			t.Errorf("%d renewals, %d rebindings; at %v the lease is %+v", renewals, rebindings, m.at, l)
		}
	})
}

func TestRefused(t *testing.T) {
	live(t, Addresses, func(w *world) {
		w.lease()
		w.answer(w.next(dhcpv6.MessageTypeRenew), dhcpv6.MessageTypeReply, address(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoBinding}))
		if m := w.next(dhcpv6.MessageTypeSolicit); m.at != 30*time.Minute || len(w.leases) > 0 {
			t.Errorf("asks anew at %v, with %d changes", m.at, len(w.leases))
		}
	})
}

// TestRefusedRequests has a server that never grants what it offers. It is not asked for
// it again, but for another offer, less and less often.
func TestRefusedRequests(t *testing.T) {
	live(t, Addresses, func(w *world) {
		last, want := time.Duration(0), 4*firstWait
		for i := range 100 {
			m := w.next(dhcpv6.MessageTypeSolicit)
			if d := m.at - last; i < 2 && d != 0 || i >= 2 && (d < want*3/4 || d > want*5/4) {
				t.Errorf("asks again after %v, want %v", d, want)
			}
			if i >= 2 {
				want = min(2*want, longestWait)
			}
			last = m.at
			w.answer(m, dhcpv6.MessageTypeAdvertise, address())
			w.answer(w.next(dhcpv6.MessageTypeRequest), dhcpv6.MessageTypeReply, address(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}))
		}
		w.lease()
		renewal := w.next(dhcpv6.MessageTypeRenew)
		w.answer(renewal, dhcpv6.MessageTypeReply, address(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoBinding}))
		if m := w.next(dhcpv6.MessageTypeSolicit); m.at != renewal.at {
			t.Errorf("after a lease it waits for %v", m.at-renewal.at)
		}
	})
}

// TestUselessOffers has a server without addresses, which is told once.
func TestUselessOffers(t *testing.T) {
	live(t, Addresses, func(w *world) {
		for range 3 {
			w.answer(w.next(dhcpv6.MessageTypeSolicit), dhcpv6.MessageTypeAdvertise, address(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoAddrsAvail}))
		}
		synctest.Wait()
		if got := w.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "NoAddrsAvail") {
			t.Errorf("it is told as %q", got)
		}
	})
}

func TestInformation(t *testing.T) {
	live(t, Information, func(w *world) {
		m := w.next(dhcpv6.MessageTypeInformationRequest)
		if m.Options.OneIANA() != nil {
			t.Errorf("the client asks for an address: %v", m.Summary())
		}
		w.answer(m, dhcpv6.MessageTypeReply, dhcpv6.WithDNS(net.ParseIP("2001:db8::53")), dhcpv6.WithInformationRefreshTime(time.Second))
		if l := <-w.leases; l.Address.IsValid() || len(l.DNS) != 1 || l.Duration != 0 {
			t.Errorf("the lease is %+v", l)
		}
		if m := w.next(dhcpv6.MessageTypeInformationRequest); m.at != leastRefresh {
			t.Errorf("asks again at %v", m.at)
		}
		w.modes <- Addresses
		w.lease()
	})
}

func TestOff(t *testing.T) {
	live(t, Addresses, func(w *world) {
		w.lease()
		w.modes <- Off
		time.Sleep(45 * time.Minute)
		if len(w.messages) > 0 || len(w.leases) > 0 {
			t.Errorf("%d messages, %d changes", len(w.messages), len(w.leases))
		}
		w.modes <- Addresses
		if m := w.next(dhcpv6.MessageTypeSolicit); !m.Options.OneIANA().Options.OneAddress().IPv6Addr.Equal(net.ParseIP("2001:db8::7")) {
			t.Errorf("the client asks for %v", m.Summary())
		}
		w.modes <- Off
		if l := <-w.leases; l != nil || time.Since(w.begun) != time.Hour || len(w.messages) > 0 {
			t.Errorf("at %v the lease is %+v, with %d messages", time.Since(w.begun), l, len(w.messages))
		}
	})
}
