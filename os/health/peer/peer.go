// Package peer tells with whom processes have TCP connections, by sock_diag(7) and the sockets among the processes' open
// files. It sees the network namespace that it is in.
package peer

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Peer is the other end of a connection that is established.
type Peer struct {
	Address netip.AddrPort
	Said    uint64 // bytes that have come from there
}

// Of gives the peers of processes. A process that ends meanwhile has none.
func Of(pids []int) ([]Peer, error) {
	sockets := map[uint32]bool{}
	for _, pid := range pids {
		if err := collect(pid, sockets); err != nil {
			return nil, fmt.Errorf("reading the open files of process %d: %w", pid, err)
		}
	}
	var peers []Peer
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		// What ends during a dump is no part of it; an interrupted dump has all that lasts.
		all, err := netlink.SocketDiagTCPInfo(family)
		if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
			return nil, fmt.Errorf("asking the kernel for TCP connections: %w", err)
		}
		for _, s := range all {
			if s.InetDiagMsg == nil || s.TCPInfo == nil || s.InetDiagMsg.State != netlink.TCP_ESTABLISHED || !sockets[s.InetDiagMsg.INode] {
				continue
			}
			id := s.InetDiagMsg.ID
			address, _ := netip.AddrFromSlice(id.Destination)
			peers = append(peers, Peer{netip.AddrPortFrom(address.Unmap(), id.DestinationPort), s.TCPInfo.Bytes_received})
		}
	}
	return peers, nil
}

// collect adds the inodes of a process's sockets.
func collect(pid int, sockets map[uint32]bool) error {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	files, err := os.ReadDir(dir)
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(dir, f.Name()))
		if err != nil {
			continue // it was closed
		}
		inode, isSocket := strings.CutPrefix(strings.TrimSuffix(target, "]"), "socket:[")
		if n, err := strconv.ParseUint(inode, 10, 32); isSocket && err == nil {
			sockets[uint32(n)] = true
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
