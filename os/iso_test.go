package os_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/nbd"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/iso"
)

const sectorSize = 2048 // of optical media

// replacing passes an image on as Tinkerbell's server does, which sees what a machine reads and no more: where
// that has the placeholder, there are parameters, and spaces behind them. Machines read sectors; each is passed on
// alone, which is the least that there can be.
type replacing struct {
	image      io.ReaderAt
	parameters []byte
}

func (r replacing) ReadAt(b []byte, offset int64) (int, error) {
	first, last := offset/sectorSize*sectorSize, (offset+int64(len(b))+sectorSize-1)/sectorSize*sectorSize
	whole := make([]byte, last-first)
	n, err := r.image.ReadAt(whole, first)
	for at := 0; at < n; at += sectorSize {
		sector := whole[at:min(at+sectorSize, n)]
		if i := bytes.Index(sector, []byte(iso.Placeholder)); i >= 0 {
			copy(sector[i:], r.parameters)
		}
	}
	got := copy(b, whole[min(offset-first, int64(n)):n])
	if got == len(b) {
		err = nil
	}
	return got, err
}

// serveISO serves //os:iso with parameters in it, and gives the socket.
func serveISO(t testing.TB, parameters string) string {
	t.Helper()
	image, err := os.Open(vmtest.File(t, "ISO"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := image.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "iso") // the test's would be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "nbd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	padded := parameters + strings.Repeat(" ", len(iso.Placeholder)-len(parameters))
	done := make(chan error)
	go func() { done <- nbd.Serve(listener, replacing{image, []byte(padded)}, info.Size()) }()
	t.Cleanup(func() { // after the machine's
		listener.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		image.Close()
		os.RemoveAll(dir)
	})
	return listener.Addr().String()
}

// TestISO boots the image that users get, through a server that puts parameters into it, on firmware of both kinds.
func TestISO(t *testing.T) {
	const parameters = vmCmdline + " facility= syslog_host= worker_id=52:54:00:12:34:56 hw_addr=52:54:00:12:34:56 " +
		"ipam=52-54-00-12-34-56::10.0.2.20:255.255.255.0:10.0.2.2:node7:10.0.2.3"
	for name, uefi := range map[string]bool{"BIOS": false, "UEFI": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := firmware(t)
			c.UEFI, c.Net = uefi, vm.UserNet
			c.Disks = []vm.Disk{{NBD: serveISO(t, parameters), Optical: true}}
			m := vmtest.Start(t, c)
			if line := reaches(m, stage.Network); line.Get("address") != "10.0.2.20/24" {
				t.Errorf("the stage is %v", line)
			}
			for _, test := range []struct{ command, want string }{
				{"hostname", "node7"},
				{"grep -cF '" + users(t).Cmdline + " " + parameters + "' /proc/cmdline", "1"},
			} {
				if got := ask(t, m, test.command); got != test.want {
					t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
				}
			}
		})
	}
}

// TestISOAlone boots the image without that server, from a stick: the placeholder stays on the command line.
func TestISOAlone(t *testing.T) {
	t.Parallel()
	c := firmware(t)
	c.Disks = []vm.Disk{{Path: vmtest.File(t, "ISO"), ReadOnly: true}}
	m := vmtest.Start(t, c)
	if line := reaches(m, stage.Cmdline); line.Get("workload") != "services" {
		t.Errorf("the stage is %v", line)
	}
	reaches(m, stage.Ready)
}
