// Package lab gives the machines of a test real networks with real servers,
// without privileges and without a network of the host's.
//
// A [Lab] is a network namespace in which Debian's own programs run, from the
// test root: dnsmasq (DHCP, router advertisements, DNS), chronyd (NTP) and
// rsyslogd (syslog over UDP, TCP and TLS). It has an address in each [LAN].
// [Lab.Port] gives a network card whose cable ends there, for vm.Config.NICs.
//
// A wire is what such a cable is plugged into: a switch that learns addresses,
// with a LAN on it and, by their tags, any number of VLANs. A wire with LACP
// takes all its cables together as the other end of one machine's 802.3ad bond.
// Nothing of this needs the host kernel's VLAN, bridge, bonding or tun: the lab
// itself moves the frames between QEMU's sockets and a veth pair for each LAN.
//
// Frames are lost as on a real wire: where a machine does not read them. There
// is no routing between LANs, nor out of the lab.
//
// A test's main calls toolroot.Init and [Init] first, because the lab is the
// test's own program, started again.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// Config describes a lab.
type Config struct {
	Root toolroot.Root // the test root
	LANs []LAN
	// Servers run from the start, those that Start starts later are not here.
	Servers []Server
	// DNSMasq is lines of dnsmasq.conf(5) for all LANs, such as
	// "address=/registry.test/10.0.1.1".
	DNSMasq string
	// Files is a folder whose files dnsmasq serves by TFTP, none if it is empty.
	Files string
}

// LAN is a network. The lab's end of it is an interface with its name.
type LAN struct {
	Name  string         // at most 15 characters
	Addrs []netip.Prefix // the lab's own, all of which serve
	// DHCP is lines of dnsmasq.conf(5) for this LAN; none means that nobody
	// answers. They are what makes leases and router advertisements:
	// "dhcp-range=10.0.1.100,10.0.1.199,2m". The LAN's name is a tag for
	// options: "dhcp-option=tag:boot,option:ntp-server,0.0.0.0".
	DHCP string
	// Delay is how long the DHCP server keeps silent after the first request.
	Delay time.Duration
	// Wire, if set, names the LAN on whose wire this one is, as the VLAN
	// numbered VLAN. Otherwise the LAN has its own, without tags.
	Wire string
	VLAN int
	// LACP makes the wire's cables one aggregate (see the package comment).
	LACP bool
}

// Server is a program of the lab, which serves in all LANs.
type Server string

// The servers.
const (
	DNSMasq  Server = "dnsmasq"
	Chronyd  Server = "chronyd"
	Rsyslogd Server = "rsyslogd"
)

// Where the files of a lab are: the first three inside, the others in Lab.dir.
const (
	insideExe = "/lab/exe"
	insideDir = "/lab/dir"
	filesDir  = "/lab/files"
	cablesDir = "cables"
	logsDir   = "logs"
	certsDir  = "certs"
)

// Lab is a running lab.
type Lab struct {
	t    testing.TB
	dir  string
	logs string
	cmd  *toolroot.Cmd
	ca   []byte

	mu      sync.Mutex // one request at a time
	control *net.UnixConn
	cables  map[string]int // by wire
	config  Config
}

// Start starts a lab that ends with the test. The logs of its servers are test
// outputs, and are shown if the test fails.
func Start(t testing.TB, c Config) *Lab {
	t.Helper()
	l := &Lab{t: t, dir: t.TempDir(), cables: map[string]int{}, config: c}
	if err := l.start(); err != nil {
		t.Fatalf("starting a lab: %v", err)
	}
	return l
}

func (l *Lab) start() error {
	l.logs = vmtest.Outputs(l.t, "lab", filepath.Join(l.dir, logsDir))
	for _, dir := range []string{cablesDir, logsDir, certsDir} {
		if err := os.MkdirAll(filepath.Join(l.dir, dir), 0o755); err != nil {
			return err
		}
	}
	var err error
	if l.ca, err = makeCerts(filepath.Join(l.dir, certsDir), l.config.LANs); err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	if l.control, err = unixConn(os.NewFile(uintptr(pair[0]), "control")); err != nil {
		return err
	}
	// The test's context ends before its machines do, which may still have something to say.
	binds := []toolroot.Bind{
		{Src: exe, Dst: insideExe},
		{Src: l.dir, Dst: insideDir, Write: true},
		{Src: l.logs, Dst: filepath.Join(insideDir, logsDir), Write: true},
	}
	if l.config.Files != "" {
		binds = append(binds, toolroot.Bind{Src: l.config.Files, Dst: filesDir})
	}
	l.cmd, err = l.config.Root.Command(context.WithoutCancel(l.t.Context()), toolroot.Options{Binds: binds, NoNet: true}, insideExe)
	if err != nil {
		return err
	}
	own, err := os.Create(filepath.Join(l.logs, "lab.log"))
	if err != nil {
		return err
	}
	defer own.Close()
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = theirs, own, own
	if err := l.cmd.Start(); err != nil {
		return err
	}
	l.t.Cleanup(l.close)
	_, err = l.ask(request{Config: &l.config})
	return err
}

func (l *Lab) close() {
	l.control.Close()
	l.cmd.Process.Kill() // PID 1 of the lab: everything in it dies
	l.cmd.Wait()
	if l.t.Failed() {
		l.showLogs()
	}
}

const shownLines = 40 // of each log

func (l *Lab) showLogs() {
	files, _ := filepath.Glob(filepath.Join(l.logs, "*.log"))
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil || len(b) == 0 {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		l.t.Logf("The lab's last lines of %s:\n    %s", filepath.Base(name),
			strings.Join(lines[max(0, len(lines)-shownLines):], "\n    "))
	}
}

// Port returns a network card with a cable to the wire of a LAN. It stays
// plugged in while machines come and go, one at a time.
func (l *Lab) Port(lan string) vm.NIC {
	l.t.Helper()
	wire := lan
	for i, n := range l.config.LANs {
		if n.Name == lan {
			wire = cmp.Or(l.config.LANs[i].Wire, lan)
		}
	}
	l.mu.Lock()
	n := l.cables[wire]
	l.cables[wire]++
	l.mu.Unlock()
	name := fmt.Sprintf("%s.%d", wire, n)
	if _, err := l.ask(request{Plug: wire, Cable: name}); err != nil {
		l.t.Fatalf("plugging a cable into the LAN %s: %v", lan, err)
	}
	hardware := mac{0x52, 0x54, 0, 0x12, uint8(l.wireNumber(wire)), uint8(n)}
	return vm.NIC{Socket: filepath.Join(l.dir, cablesDir, name), MAC: hardware.String()}
}

func (l *Lab) wireNumber(wire string) int {
	for i, n := range l.config.LANs {
		if n.Name == wire {
			return i + 1
		}
	}
	return 0
}

// Start starts a server, or starts it again with an empty memory, and returns
// when it serves.
func (l *Lab) Start(s Server) {
	l.t.Helper()
	if _, err := l.ask(request{Start: s}); err != nil {
		l.t.Fatalf("starting %s: %v", s, err)
	}
}

// Stop stops a server.
func (l *Lab) Stop(s Server) {
	l.t.Helper()
	if _, err := l.ask(request{Stop: s}); err != nil {
		l.t.Fatalf("stopping %s: %v", s, err)
	}
}

// SetDHCP gives a LAN other lines of dnsmasq.conf(5), with which dnsmasq starts again.
func (l *Lab) SetDHCP(lan, lines string) {
	l.t.Helper()
	if _, err := l.ask(request{SetDHCP: lan, Lines: lines, Start: DNSMasq}); err != nil {
		l.t.Fatalf("changing the DHCP server of %s: %v", lan, err)
	}
}

// Listen makes a TCP listener ("tcp") at an address of the lab's, for a server
// that the test itself is.
func (l *Lab) Listen(network, address string) net.Listener {
	l.t.Helper()
	return openSocket(l, request{Listen: network, Address: address}, net.FileListener)
}

// ListenPacket is Listen for UDP ("udp").
func (l *Lab) ListenPacket(network, address string) net.PacketConn {
	l.t.Helper()
	return openSocket(l, request{ListenPacket: network, Address: address}, net.FilePacketConn)
}

// Dial connects from inside the lab.
func (l *Lab) Dial(network, address string) net.Conn {
	l.t.Helper()
	return openSocket(l, request{Dial: network, Address: address}, net.FileConn)
}

// openSocket gets a socket of the lab's, which is closed when the test ends.
func openSocket[S io.Closer](l *Lab, r request, open func(*os.File) (S, error)) S {
	l.t.Helper()
	f, err := l.ask(r)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	s, err := open(f)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { s.Close() })
	return s
}

// CA is the certificate, in PEM, of the authority that signed the servers', which
// is good for all addresses of the lab and the name ServerName.
func (l *Lab) CA() []byte { return l.ca }

// Certificate names the files with the servers' certificate and its key, in PEM.
func (l *Lab) Certificate() (cert, key string) {
	return filepath.Join(l.dir, certsDir, "cert.pem"), filepath.Join(l.dir, certsDir, "key.pem")
}

// ask sends a request to the lab and waits for its answer.
func (l *Lab) ask(r request) (*os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := send(l.control, r, nil); err != nil {
		return nil, fmt.Errorf("asking the lab: %w", err)
	}
	var a answer
	f, err := receive(l.control, &a)
	if err != nil {
		return nil, fmt.Errorf("asking the lab, which may have ended: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return f, nil
}
