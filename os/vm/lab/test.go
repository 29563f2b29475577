package lab

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// Lab is the Network of a test, which fails where the Network does.
type Lab struct {
	*Network
	t testing.TB
}

// Start starts a lab that ends with the test. The logs of its servers are test
// outputs, and are shown if the test fails.
func Start(t testing.TB, c Config) *Lab {
	t.Helper()
	dir := t.TempDir()
	n, err := Open(t.Context(), dir, vmtest.Outputs(t, "lab", filepath.Join(dir, logsDir)), c)
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{n, t}
	t.Cleanup(func() {
		l.Close()
		if t.Failed() {
			l.showLogs()
		}
	})
	return l
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

// Port is that of the Network, as all methods here.
func (l *Lab) Port(lan string) vm.NIC {
	l.t.Helper()
	nic, err := l.Network.Port(lan)
	l.must(err)
	return nic
}

// Start starts a server.
func (l *Lab) Start(s Server) {
	l.t.Helper()
	l.must(l.Network.Start(s))
}

// Stop stops a server.
func (l *Lab) Stop(s Server) {
	l.t.Helper()
	l.must(l.Network.Stop(s))
}

// SetDHCP gives a LAN other lines.
func (l *Lab) SetDHCP(lan, lines string) {
	l.t.Helper()
	l.must(l.Network.SetDHCP(lan, lines))
}

// Listen makes a TCP listener, which is closed when the test ends, as the next two are.
func (l *Lab) Listen(network, address string) net.Listener {
	l.t.Helper()
	return own(l, l.Network.Listen, network, address)
}

// ListenPacket makes a UDP socket.
func (l *Lab) ListenPacket(network, address string) net.PacketConn {
	l.t.Helper()
	return own(l, l.Network.ListenPacket, network, address)
}

// Dial connects from inside the lab.
func (l *Lab) Dial(network, address string) net.Conn {
	l.t.Helper()
	return own(l, l.Network.Dial, network, address)
}

func own[S io.Closer](l *Lab, open func(network, address string) (S, error), network, address string) S {
	l.t.Helper()
	s, err := open(network, address)
	l.must(err)
	l.t.Cleanup(func() { s.Close() })
	return s
}

func (l *Lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}
