package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/beevik/ntp"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	Init()
	m.Run()
}

func root(t *testing.T) toolroot.Root {
	return toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}
}

func prefixes(text ...string) (all []netip.Prefix) {
	for _, p := range text {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// plain is a LAN with DHCP, whose addresses are 10.0.<n>.x.
func plain(name string, n int) LAN {
	return LAN{
		Name: name, Addrs: prefixes(fmt.Sprintf("10.0.%d.1/24", n), fmt.Sprintf("fd00:%d::1/64", n)),
		DHCP: fmt.Sprintf("dhcp-range=10.0.%[1]d.100,10.0.%[1]d.199,2m", n),
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	tagged := plain("tagged", 2)
	tagged.Wire, tagged.VLAN = "boot", 42
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1), tagged}, Servers: []Server{DNSMasq}})
	for _, test := range []struct {
		lan  string
		vlan int
		want string
	}{
		{"boot", 0, "10.0.1.0/24"},
		{"tagged", 42, "10.0.2.0/24"},
		{"boot", 0, "10.0.1.0/24"},
	} {
		c := plugIn(t, test.vlan, l.Port(test.lan))
		if ack := c.lease(); !netip.MustParsePrefix(test.want).Contains(c.addr) {
			t.Errorf("%s: the lease is for %s, want %s", test.lan, ack.YourIPAddr, test.want)
		}
	}
}

func TestLeaseOverBond(t *testing.T) {
	t.Parallel()
	trunk, tagged := plain("trunk", 1), plain("tagged", 2)
	trunk.LACP = true
	tagged.Wire, tagged.VLAN = "trunk", 42
	l := Start(t, Config{Root: root(t), LANs: []LAN{trunk, tagged}, Servers: []Server{DNSMasq}})
	for _, vlan := range []int{0, 42} {
		c := plugIn(t, vlan, l.Port("trunk"), l.Port("trunk"))
		c.bond()
		c.lease()
		for _, p := range c.cables {
			p.Close()
		}
	}
}

func TestRenewalElsewhere(t *testing.T) {
	t.Parallel()
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1)}, Servers: []Server{DNSMasq}})
	c := plugIn(t, 0, l.Port("boot"))
	c.lease()
	l.SetDHCP("boot", "dhcp-range=10.0.1.50,10.0.1.50,2m")
	if got := c.lease().YourIPAddr.String(); got != "10.0.1.50" {
		t.Errorf("the lease is for %s", got)
	}
}

func TestNTP(t *testing.T) {
	t.Parallel()
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1)}, Servers: []Server{DNSMasq, Chronyd}})
	conn := l.Dial("udp", "10.0.1.1:123")
	r, err := ntp.QueryWithOptions("10.0.1.1", ntp.QueryOptions{Timeout: patience,
		Dialer: func(string, string) (net.Conn, error) { return conn, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Validate(); err != nil || r.ClockOffset.Abs() > time.Minute {
		t.Errorf("the time is %v off, %v", r.ClockOffset, err)
	}
	// The same from a machine.
	c := plugIn(t, 0, l.Port("boot"))
	c.lease()
	c.ask(netip.MustParseAddr("10.0.1.1"), 12345, 123, append([]byte{0x23}, make([]byte, 47)...), func(b []byte) bool {
		return len(b) == 48 && b[0]&7 == 4
	})
}

func TestDNS(t *testing.T) {
	t.Parallel()
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1)}, Servers: []Server{DNSMasq},
		DNSMasq: "address=/registry.test/10.0.1.1\nhost-record=both.test,10.0.1.2,fd00:1::2"})
	resolver := net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		return l.Dial("udp", "10.0.1.1:53"), nil
	}}
	for name, want := range map[string]string{"registry.test": "[10.0.1.1]", "both.test": "[10.0.1.2 fd00:1::2]"} {
		got, err := resolver.LookupNetIP(t.Context(), "ip", name)
		slices.SortFunc(got, netip.Addr.Compare)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, %v; want %s", name, got, err, want)
		}
	}
	var failure *net.DNSError
	if got, err := resolver.LookupNetIP(t.Context(), "ip", "unknown.test"); !errors.As(err, &failure) || !failure.IsNotFound {
		t.Errorf("a name that is not there: got %v, %v", got, err)
	}
}

func TestSyslog(t *testing.T) {
	t.Parallel()
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1)}, Servers: []Server{DNSMasq}})
	c := plugIn(t, 0, l.Port("boot"))
	c.lease()
	l.Start(Rsyslogd) // a collector that comes up late

	message := func(text string) string {
		return "<27>1 2026-11-21T07:00:00.123456Z node1 ember-test 42 - - " + text
	}
	c.udp(netip.MustParseAddr("10.0.1.1"), 2000, 514, []byte(message("by udp")))
	octets := func(text string) string { return fmt.Sprintf("%d %s", len(text), text) }
	fmt.Fprint(l.Dial("tcp", "10.0.1.1:514"), octets(message("by tcp")))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.CA())
	secure := tls.Client(l.Dial("tcp", "[fd00:1::1]:6514"), &tls.Config{RootCAs: roots, ServerName: "fd00:1::1"})
	if _, err := fmt.Fprint(secure, octets(message("by tls"))); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"udp", "tcp", "tls"} {
		m := l.Message(func(m Message) bool { return m.Transport == transport })
		if m.Host != "node1" || m.App != "ember-test" || m.Facility != "daemon" || m.Severity != "err" ||
			m.Text != "by "+transport || m.Raw != message("by "+transport) || m.Time.Nanosecond() != 123456000 {
			t.Errorf("%s: got %+v", transport, m)
		}
	}
}

// TestListen has a server of the test's own in a LAN.
func TestListen(t *testing.T) {
	t.Parallel()
	l := Start(t, Config{Root: root(t), LANs: []LAN{plain("boot", 1)}})
	listener := l.Listen("tcp", "10.0.1.1:80")
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			conn.Write([]byte("hello"))
			conn.Close()
		}
	}()
	b := make([]byte, 5)
	if _, err := l.Dial("tcp", "10.0.1.1:80").Read(b); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
}
