package peer

import (
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// TestMain is also the process that is looked at: it connects to its argument, and stays until its input ends.
func TestMain(m *testing.M) {
	if os.Args[0] != "dialer" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	defer c.Close()
	go io.Copy(io.Discard, c)
	io.Copy(io.Discard, os.Stdin)
}

// dial has a process connect to l, and gives the other end.
func dial(t *testing.T, l net.Listener) (server net.Conn, cmd *exec.Cmd) {
	t.Helper()
	cmd = &exec.Cmd{Path: "/proc/self/exe", Args: []string{"dialer", l.Addr().String()}, Stderr: os.Stderr}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server, cmd
}

func TestOf(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Logf("this machine has no %s: %v", address, err)
			continue
		}
		defer l.Close()
		server, cmd := dial(t, l)
		_, other := dial(t, l)
		want := netip.MustParseAddrPort(l.Addr().String())
		until(t, []int{cmd.Process.Pid}, Peer{want, 0})
		if _, err := server.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		until(t, []int{cmd.Process.Pid}, Peer{want, 5})
		until(t, []int{cmd.Process.Pid, other.Process.Pid}, Peer{want, 5}, Peer{want, 0})
		server.Close()
		until(t, []int{cmd.Process.Pid})
	}
	until(t, []int{1 << 22})
}

// until waits until the processes have these peers and no others.
func until(t *testing.T, pids []int, want ...Peer) {
	t.Helper()
	by := func(a, b Peer) int { return int(a.Said) - int(b.Said) }
	slices.SortFunc(want, by)
	for limit := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		got, err := Of(pids)
		if err != nil {
			t.Fatal(err)
		}
		if slices.SortFunc(got, by); slices.Equal(got, want) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("processes %v have peers %v, want %v", pids, got, want)
		}
	}
}
