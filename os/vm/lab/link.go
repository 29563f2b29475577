package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"unsafe"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// addrGenModeNone is IN6_ADDR_GEN_MODE_NONE of <linux/if_link.h>.
const addrGenModeNone = 1

// wireSide is a network namespace for the far ends of the LANs' interfaces. In
// the lab's own one the kernel would answer what it hears there, and configure
// itself from its own router advertisements.
type wireSide struct {
	do chan func()
	ns *os.File
}

func newWireSide() (*wireSide, error) {
	w := &wireSide{do: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: no other goroutine may run in the namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			w.ns, err = os.Open("/proc/thread-self/ns/net")
		}
		made <- err
		for f := range w.do {
			f()
		}
	}()
	if err := <-made; err != nil {
		return nil, fmt.Errorf("making a network namespace: %w", err)
	}
	return w, nil
}

// run calls f in the namespace.
func (w *wireSide) run(f func() error) error {
	result := make(chan error)
	w.do <- func() { result <- f() }
	return <-result
}

// link makes the interface that the lab has in a LAN, with its addresses, and
// returns the other end of it.
func (w *wireSide) link(name string, hardware mac, addrs []netip.Prefix) (*packet.Conn, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr = name, hardware[:]
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(w.ns.Fd())}
	if err := netlink.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("making a pair of interfaces: %w", err)
	}
	if err := noChecksumOffload(name); err != nil {
		return nil, err
	}
	var conn *packet.Conn
	err := w.run(func() (err error) {
		conn, err = listenAll(name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the other end of %s: %w", name, err)
	}
	if err := configure(veth, hardware, addrs); err != nil {
		return nil, err
	}
	return conn, nil
}

// configure sets addresses that are usable at once, without duplicate address detection.
func configure(link netlink.Link, hardware mac, addrs []netip.Prefix) error {
	if err := netlink.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return fmt.Errorf("keeping the kernel from choosing a link-local address: %w", err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bringing up %s: %w", link.Attrs().Name, err)
	}
	addrs = append([]netip.Prefix{hardware.linkLocal()}, addrs...)
	for _, a := range addrs {
		addr := &netlink.Addr{IPNet: &net.IPNet{
			IP: a.Addr().AsSlice(), Mask: net.CIDRMask(a.Bits(), a.Addr().BitLen()),
		}}
		if a.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("giving %s the address %s: %w", link.Attrs().Name, a, err)
		}
	}
	return nil
}

// linkLocal is the link-local address made of a MAC address (RFC 4291, appendix A).
func (m mac) linkLocal() netip.Prefix {
	a := [16]byte{0: 0xfe, 1: 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// listenAll brings the interface up and takes all frames that come in there.
func listenAll(name string) (*packet.Conn, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, err
	}
	ifi := &net.Interface{Index: link.Attrs().Index, Name: name, HardwareAddr: link.Attrs().HardwareAddr}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	}); cerr != nil {
		err = cerr
	}
	return conn, err
}

// noChecksumOffload makes the kernel compute the checksums of what it sends on
// an interface, which it otherwise leaves to the receiving end of a veth pair,
// and with that also split what is longer than a frame.
func noChecksumOffload(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	value := struct{ cmd, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return fmt.Errorf("turning off checksum offload of %s: %w", name, errno)
	}
	return nil
}
