package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/bootserver"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/relay"
	"github.com/ember-os/ember/tools/toolroot"
)

// rack is the machine with its servers. What the lab needs while it runs is in dir, which is removed at its end; what
// people may want to read then is in out.
type rack struct {
	flags    flags
	screen   *screen
	dir, out string

	network *lab.Network
	boots   bootserver.Server
	web     *http.Server // of boots; nil while it is away
	station *station.Station
	gate    net.Listener // through which machines come to the station; nil while it is away
	relay   relay.Relay
	tink    *tinktest.Tinkerbell
	watched func() // ends what watches the servers
	// reported is the health that was reported last, of which only what watches the servers knows.
	reported string

	config  vm.Config
	disk    string   // the image of the disk with the ESP
	target  string   // that of the disk for the workflow
	console *console // of all boots
	machine *vm.Machine
	off     chan struct{} // closed when the machine has ended; nil once that was looked at
	good    content       // what is kept

	typed chan string // lines from standard input
}

// newRack makes folders, and describes the machine. It starts nothing.
func newRack(f flags, s *screen) (*rack, error) {
	r := &rack{flags: f, screen: s}
	r.boots.Served = r.served
	var err error
	if r.out, err = os.MkdirTemp("", "ember-lab-log-"); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "ember-lab-"); err != nil {
		return nil, err
	}
	r.disk, r.target = filepath.Join(r.dir, "disk"), filepath.Join(r.dir, "target")
	r.config = vm.Config{
		Root: toolroot.Root{Marker: f.files.root}, Dir: filepath.Join(r.dir, "machine"),
		MemoryMiB: 1024, CPUs: 1, UEFI: true, TPM: vm.CRB,
		Disks: []vm.Disk{{Path: r.disk}, {Path: r.target}},
	}
	for _, dir := range []string{"machine", "station", "network", "tinkerbell"} {
		if err := os.Mkdir(filepath.Join(r.dir, dir), 0o755); err != nil {
			return nil, err
		}
	}
	if r.console, err = newConsole(r.consoleFile(), r.screen, f.console); err != nil {
		return nil, err
	}
	r.config.Console = r.console
	r.config.Transcript = filepath.Join(r.dir, "machine", "console.log")
	return r, nil
}

func (r *rack) consoleFile() string { return filepath.Join(r.out, "console.log") }

// page is the address of the status page.
func (r *rack) page() string { return "http://" + r.station.Page() + "/" }

// probe finds out whether the machine can have KVM, and with that two processors: of emulated ones QEMU may stop the
// second, see vmtest.Start.
func (r *rack) probe(ctx context.Context) {
	if r.flags.kvm == "off" {
		return
	}
	c := r.config
	c.Kernel = r.flags.files.kernel
	if c.ProbeKVM(ctx) == nil {
		r.config.KVM, r.config.CPUs = true, 2
	}
}

// close ends everything that was started, the machine first, and removes what it has left.
func (r *rack) close() {
	if r.machine != nil {
		r.machine.Close()
	}
	if r.watched != nil {
		r.watched()
	}
	r.stopServers()
	if r.station != nil {
		for _, log := range []string{station.Log, station.Audit} {
			os.Rename(r.station.Path(log), filepath.Join(r.out, log)) // there is none if the server never ran
		}
	}
	if r.network != nil {
		r.network.Close()
	}
	r.console.Close()
	if err := os.RemoveAll(r.dir); err != nil {
		r.screen.print(fmt.Sprintf("lab: removing its files: %v\n", err))
	}
	r.screen.print("\nThe console and the servers' logs are in " + r.out + "\n")
}
