package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/tools/toolroot"
)

// Network is a running lab.
type Network struct {
	dir  string
	logs string
	cmd  *toolroot.Cmd
	ca   []byte

	mu      sync.Mutex // one request at a time
	control *net.UnixConn
	cables  map[string]int // by wire
	config  Config
}

// Open starts a lab, which runs until Close, whatever becomes of ctx: machines may have something to say when that
// has ended. Its sockets, certificates and what its servers write are in dir, an existing directory, and their logs
// in logs, another one.
func Open(ctx context.Context, dir, logs string, c Config) (*Network, error) {
	n := &Network{dir: dir, logs: logs, cables: map[string]int{}, config: c}
	if err := n.start(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("starting a lab: %w", err)
	}
	return n, nil
}

func (n *Network) start(ctx context.Context) error {
	for _, dir := range []string{cablesDir, logsDir, certsDir} {
		if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
			return err
		}
	}
	var err error
	if n.ca, err = makeCerts(filepath.Join(n.dir, certsDir), n.config.LANs); err != nil {
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
	if n.control, err = unixConn(os.NewFile(uintptr(pair[0]), "control")); err != nil {
		return err
	}
	binds := []toolroot.Bind{
		{Src: exe, Dst: insideExe},
		{Src: n.dir, Dst: insideDir, Write: true},
		{Src: n.logs, Dst: filepath.Join(insideDir, logsDir), Write: true},
	}
	if n.config.Files != "" {
		binds = append(binds, toolroot.Bind{Src: n.config.Files, Dst: filesDir})
	}
	cmd, err := n.config.Root.Command(ctx, toolroot.Options{Binds: binds, NoNet: true}, insideExe)
	if err != nil {
		return err
	}
	own, err := os.Create(filepath.Join(n.logs, "lab.log"))
	if err != nil {
		return err
	}
	defer own.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, own, own
	if err := cmd.Start(); err != nil {
		return err
	}
	n.cmd = cmd
	if _, err := n.ask(request{Config: &n.config}); err != nil {
		n.Close()
		return err
	}
	return nil
}

// Close ends the lab, and everything in it.
func (n *Network) Close() {
	n.control.Close()
	n.cmd.Process.Kill() // PID 1 of the lab: everything in it dies
	n.cmd.Wait()
}

// Port returns a network card with a cable to the wire of a LAN. It stays
// plugged in while machines come and go, one at a time.
func (n *Network) Port(lan string) (vm.NIC, error) {
	wire := lan
	for _, l := range n.config.LANs {
		if l.Name == lan {
			wire = cmp.Or(l.Wire, lan)
		}
	}
	n.mu.Lock()
	number := n.cables[wire]
	n.cables[wire]++
	n.mu.Unlock()
	name := fmt.Sprintf("%s.%d", wire, number)
	if _, err := n.ask(request{Plug: wire, Cable: name}); err != nil {
		return vm.NIC{}, fmt.Errorf("plugging a cable into the LAN %s: %w", lan, err)
	}
	hardware := mac{0x52, 0x54, 0, 0x12, uint8(n.wireNumber(wire)), uint8(number)}
	return vm.NIC{Socket: filepath.Join(n.dir, cablesDir, name), MAC: hardware.String()}, nil
}

func (n *Network) wireNumber(wire string) int {
	for i, l := range n.config.LANs {
		if l.Name == wire {
			return i + 1
		}
	}
	return 0
}

// Start starts a server, or starts it again with an empty memory, and returns
// when it serves.
func (n *Network) Start(s Server) error {
	if _, err := n.ask(request{Start: s}); err != nil {
		return fmt.Errorf("starting %s: %w", s, err)
	}
	return nil
}

// Stop stops a server.
func (n *Network) Stop(s Server) error {
	if _, err := n.ask(request{Stop: s}); err != nil {
		return fmt.Errorf("stopping %s: %w", s, err)
	}
	return nil
}

// SetDHCP gives a LAN other lines of dnsmasq.conf(5), with which dnsmasq starts again.
func (n *Network) SetDHCP(lan, lines string) error {
	if _, err := n.ask(request{SetDHCP: lan, Lines: lines, Start: DNSMasq}); err != nil {
		return fmt.Errorf("changing the DHCP server of %s: %w", lan, err)
	}
	return nil
}

// Listen makes a TCP listener ("tcp") at an address of the lab's, for a server
// that the caller itself is.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	return openSocket(n, request{Listen: network, Address: address}, net.FileListener)
}

// ListenPacket is Listen for UDP ("udp").
func (n *Network) ListenPacket(network, address string) (net.PacketConn, error) {
	return openSocket(n, request{ListenPacket: network, Address: address}, net.FilePacketConn)
}

// Dial connects from inside the lab.
func (n *Network) Dial(network, address string) (net.Conn, error) {
	return openSocket(n, request{Dial: network, Address: address}, net.FileConn)
}

// openSocket gets a socket of the lab's.
func openSocket[S io.Closer](n *Network, r request, open func(*os.File) (S, error)) (s S, err error) {
	f, err := n.ask(r)
	if err != nil {
		return s, err
	}
	defer f.Close()
	return open(f)
}

// CA is the certificate, in PEM, of the authority that signed the servers', which
// is good for all addresses of the lab and the name ServerName.
func (n *Network) CA() []byte { return n.ca }

// Certificate names the files with the servers' certificate and its key, in PEM.
func (n *Network) Certificate() (cert, key string) {
	return filepath.Join(n.dir, certsDir, "cert.pem"), filepath.Join(n.dir, certsDir, "key.pem")
}

// ask sends a request to the lab and waits for its answer.
func (n *Network) ask(r request) (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := send(n.control, r, nil); err != nil {
		return nil, fmt.Errorf("asking the lab: %w", err)
	}
	var a answer
	f, err := receive(n.control, &a)
	if err != nil {
		return nil, fmt.Errorf("asking the lab, which may have ended: %w", err)
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return f, nil
}
