package networkd

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/nstest"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside is nstest.Inside for tests with a lab.
func inside(t *testing.T) bool {
	t.Helper()
	return nstest.Inside(t, syscall.CLONE_NEWNET|syscall.CLONE_NEWUTS|syscall.CLONE_NEWNS)
}

// lab is a machine in the test's namespaces, and the networks at the other ends of
// its cables in a network namespace of their own.
type lab struct {
	*testing.T
	outside int // the namespace of the other ends
	root    string
	notes   chan string
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{T: t, root: t.TempDir(), notes: make(chan string, 100)}
	for _, dir := range []string{"etc", "run/ember", "proc"} {
		if err := os.MkdirAll(filepath.Join(l.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("/proc", filepath.Join(l.root, "proc"), "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(filepath.Join(l.root, "proc"), unix.MNT_DETACH) })
	opened := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread is of no use to others
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			l.outside, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		opened <- err
	}()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	return l
}

// out runs f in the namespace of the other ends.
func (l *lab) out(f func() error) {
	l.Helper()
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(l.outside, unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		failed <- err
	}()
	if err := <-failed; err != nil {
		l.Fatal(err)
	}
}

// cable makes a link to another end with that address, which may be "". The other
// end is called "far-" and the link's name.
func (l *lab) cable(name, address string) {
	l.Helper()
	far := "far-" + name
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: far, PeerNamespace: netlink.NsFd(l.outside)}
	if err := netlink.LinkAdd(veth); err != nil {
		l.Fatal(err)
	}
	l.out(func() error {
		link, err := netlink.LinkByName(far)
		if err != nil {
			return err
		}
		if address != "" {
			a, err := netlink.ParseAddr(address)
			if err != nil {
				return err
			}
			a.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(link, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(link)
	})
}

// plug connects or cuts a cable at its other end.
func (l *lab) plug(name string, in bool) {
	l.Helper()
	l.out(func() error {
		link, err := netlink.LinkByName("far-" + name)
		if err != nil {
			return err
		}
		if in {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// answer is what a server says to a message, nil for nothing.
type answer func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4

// serve runs a DHCP server at the other end of a link.
func (l *lab) serve(name string, f answer) {
	l.Helper()
	l.out(func() error {
		any := &net.UDPAddr{IP: net.IPv4zero, Port: dhcpv4.ServerPort}
		s, err := server4.NewServer("far-"+name, any, func(c net.PacketConn, from net.Addr, m *dhcpv4.DHCPv4) {
			r := f(m)
			if r == nil {
				return
			}
			to := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpv4.ClientPort}
			if !m.ClientIPAddr.IsUnspecified() {
				to.IP = m.ClientIPAddr
			}
			if _, err := c.WriteTo(r.ToBytes(), to); err != nil {
				l.Log("the server cannot answer: ", err)
			}
		})
		if err != nil {
			return err
		}
		go s.Serve()
		l.Cleanup(func() { s.Close() })
		return nil
	})
}

// grant answers everything with an address.
func grant(server, address string, options ...dhcpv4.Option) answer {
	prefix := netip.MustParsePrefix(address)
	return func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		kind := dhcpv4.MessageTypeAck
		if m.MessageType() == dhcpv4.MessageTypeDiscover {
			kind = dhcpv4.MessageTypeOffer
		}
		r, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(prefix.Addr().AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(server))),
			dhcpv4.WithOption(dhcpv4.OptSubnetMask(net.CIDRMask(prefix.Bits(), 32))),
			dhcpv4.WithOption(dhcpv4.OptIPAddressLeaseTime(time.Hour)))
		if err != nil {
			panic(err)
		}
		for _, o := range options {
			r.UpdateOption(o)
		}
		return r
	}
}

func router4(address string) dhcpv4.Option { return dhcpv4.OptRouter(net.ParseIP(address)) }

// network plugs a link into network 10.0.N.0/24, whose router is .1 and gives leases of .7.
func (l *lab) network(name string, n int) {
	l.Helper()
	router := fmt.Sprintf("10.0.%d.1", n)
	l.cable(name, router+"/24")
	l.serve(name, grant(router, fmt.Sprintf("10.0.%d.7/24", n), router4(router)))
}

// run runs the daemon until the test ends or the function that it gives is called.
func (l *lab) run(c Config) (stop func()) {
	l.Helper()
	return l.runWith(c, waits{time.Second, time.Hour, time.Second, 100 * time.Millisecond, 20 * time.Millisecond})
}

func (l *lab) runWith(c Config, w waits) (stop func()) {
	c.Root = l.root
	w.solicit = cmp.Or(w.solicit, time.Second)
	if c.Log == nil {
		c.Log = logline.New(l.Output(), slog.LevelDebug)
	}
	if c.Physical == nil {
		c.Physical = func(k netlink.Link) bool { return k.Type() == "veth" }
	}
	c.Notify = func(s string) { l.notes <- s }
	ended := make(chan error)
	ctx, cancel := context.WithCancel(l.Context())
	go func() { ended <- c.run(ctx, w) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.Error(err)
		}
	})
	l.Cleanup(stop)
	return stop
}

// told waits until the daemon tells something with a part in it.
func (l *lab) told(part string) string {
	l.Helper()
	deadline := time.After(time.Minute)
	for {
		select {
		case s := <-l.notes:
			if strings.Contains(s, part) {
				return s
			}
			l.Log("told ", s)
		case <-deadline:
			l.Fatalf("the daemon does not tell %q; the state is %+v", part, l.state())
		}
	}
}

func (l *lab) state() netstate.State {
	l.Helper()
	s, err := netstate.Read(filepath.Join(l.root, netstate.Path))
	if err != nil {
		l.Fatal(err)
	}
	return s
}

// until waits for a state.
func (l *lab) until(what string, f func(netstate.State) bool) netstate.State {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		s := l.state()
		if f(s) {
			return s
		}
		if time.Now().After(deadline) {
			l.Fatalf("%s does not happen; the state is %+v", what, s)
		}
	}
}

// file reads a file below the root.
func (l *lab) file(name string) string {
	l.Helper()
	text, err := os.ReadFile(filepath.Join(l.root, name))
	if err != nil {
		l.Fatal(err)
	}
	return string(text)
}

// routes are the daemon's routes as the kernel has them, in order; those of links
// that are not chosen say so.
func (l *lab) routes(family int) []string {
	l.Helper()
	routes, err := netlink.RouteList(nil, family)
	if err != nil {
		l.Fatal(err)
	}
	var all []string
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_DHCP {
			continue
		}
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			l.Fatal(err)
		}
		s := "default"
		if ones, _ := r.Dst.Mask.Size(); ones > 0 {
			s = r.Dst.String()
		}
		if r.Gw != nil {
			s += " via " + r.Gw.String()
		}
		s += " dev " + link.Attrs().Name
		if r.Priority != chosenMetric {
			s += " reserve"
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// wantRoutes waits for these routes.
func (l *lab) wantRoutes(family int, want ...string) {
	l.Helper()
	l.want("routes", func() []string { return l.routes(family) }, want)
}

// wantAddresses waits until a link has these IPv4 addresses.
func (l *lab) wantAddresses(name string, want ...string) {
	l.Helper()
	l.want("addresses of "+name, func() []string {
		has, err := netlink.AddrList(l.link(name), netlink.FAMILY_V4)
		if err != nil {
			l.Fatal(err)
		}
		var all []string
		for _, a := range has {
			all = append(all, a.IPNet.String())
		}
		slices.Sort(all)
		return all
	}, want)
}

// want waits until what get gives is as wanted.
func (l *lab) want(what string, get func() []string, want []string) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		got := get()
		if slices.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("the %s are %q, want %q", what, got, want)
		}
	}
}

// wantWay waits until packets to an address go out of a link.
func (l *lab) wantWay(to, name string) {
	l.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		routes, err := netlink.RouteGet(net.ParseIP(to))
		if err == nil && len(routes) == 1 && routes[0].LinkIndex == l.link(name).Attrs().Index {
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("the way to %s is %v, %v, not %s", to, routes, err, name)
		}
	}
}

// change is an answer that can be replaced.
func change(first answer) (answer, func(answer)) {
	now := make(chan answer, 1)
	now <- first
	return func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			f := <-now
			now <- f
			return f(m)
		}, func(next answer) {
			<-now
			now <- next
		}
}

func silent(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil }

// address gives the other end of a link an address.
func (l *lab) address(name, address string) {
	l.Helper()
	l.out(func() error {
		link, err := netlink.LinkByName("far-" + name)
		if err != nil {
			return err
		}
		return netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(address)), Flags: unix.IFA_F_NODAD})
	})
}
