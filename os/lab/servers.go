package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/vm/bootserver"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/lab"
)

// Where the servers are for the machine, and the machine's card.
const (
	host          = "10.0.1.1"
	bootAddress   = host + ":80"
	attestAddress = host + ":8443"
	lanName       = "rack"
	mac           = "52:54:00:00:00:01"
)

// dhcp gives leases, the time, and what to boot by HTTP.
var dhcp = "dhcp-range=10.0.1.100,10.0.1.199,2m\ndhcp-option=tag:" + lanName + ",option:ntp-server,0.0.0.0\n" +
	bootserver.HTTPBoot(host, bootserver.Name)

const (
	espFree    = 160 << 20 // bytes, on the disk with the ESP
	targetSize = 16 << 20  // of the disk for the workflow
	written    = 3_000_000 // bytes, by the workflow
)

// startServers starts everything but the machine.
func (r *rack) startServers(ctx context.Context) (string, error) {
	var err error
	r.network, err = lab.Open(ctx, filepath.Join(r.dir, "network"), r.out, lab.Config{
		Root:    r.config.Root,
		LANs:    []lab.LAN{{Name: lanName, Addrs: []netip.Prefix{netip.MustParsePrefix(host + "/24")}, DHCP: dhcp}},
		Servers: []lab.Server{lab.DNSMasq, lab.Chronyd},
	})
	if err != nil {
		return "", err
	}
	if err := r.makeDisks(ctx); err != nil {
		return "", err
	}
	c := station.Config{Dir: filepath.Join(r.dir, "station"), Attestd: r.flags.files.attestd, Emberctl: r.flags.files.emberctl, Page: true}
	c.Certificate, c.Key = r.network.Certificate()
	if r.station, err = station.New(ctx, c); err != nil {
		return "", err
	}
	r.config.CA = r.station.Vendor
	programs := tinktest.Programs{Server: r.flags.files.tinkserver, Agent: r.flags.files.tinkAgent, Busybox: r.flags.files.busybox}
	r.tink, err = tinktest.Open(ctx, r.network, programs, filepath.Join(r.dir, "tinkerbell"), tinktest.Options{
		Host: netip.MustParseAddr(host),
		Workflow: tinktest.Workflow{Agent: mac, Actions: []tinktest.Action{
			{Image: images.WriteDisk, Env: []string{"DEST_DISK=/dev/vdb", fmt.Sprint("BYTES=", written)}},
			{Image: images.Say, Env: []string{"TEXT=the workflow is done"}},
		}},
	})
	if err != nil {
		return "", err
	}
	if err := r.station.Seal(ctx, r.configuration("one")...); err != nil {
		return "", err
	}
	if err := r.publish(1, firstLimits); err != nil {
		return "", err
	}
	if err := r.serve(ctx); err != nil {
		return "", err
	}
	r.watched = r.watch(ctx)
	r.screen.print(fmt.Sprintf("  status page  %s\n  operators    emberctl nodes --server unix:%s\n", r.page(), r.station.Path(station.Socket)))
	return fmt.Sprintf("they listen at %s, and the status page at %s", host, r.page()), nil
}

func (r *rack) makeDisks(ctx context.Context) error {
	if err := disk.Make(ctx, r.config.Root, r.disk, nil, espFree); err != nil {
		return err
	}
	return os.WriteFile(r.target, make([]byte, targetSize), 0o600)
}

// serve has the boot server and attestd answer.
func (r *rack) serve(ctx context.Context) error {
	l, err := r.network.Listen("tcp", bootAddress)
	if err != nil {
		return err
	}
	r.web = &http.Server{Handler: &r.boots}
	go r.web.Serve(l) // ends with stopServers
	if err := r.station.Start(ctx); err != nil {
		return err
	}
	if r.gate, err = r.network.Listen("tcp", attestAddress); err != nil {
		return err
	}
	go r.relay.Serve(r.gate, r.station.Address())
	return nil
}

// comeBack has all servers answer again.
func (r *rack) comeBack(ctx context.Context) error {
	if err := r.tink.ComeBack(ctx); err != nil {
		return err
	}
	return r.serve(ctx)
}

// stopServers stops them all but DHCP and time.
func (r *rack) stopServers() {
	if r.web != nil {
		r.web.Close()
		r.web = nil
	}
	if r.gate != nil {
		r.gate.Close()
		r.gate = nil
	}
	if r.station != nil {
		r.station.Stop()
	}
	if r.tink != nil {
		r.tink.Close()
	}
}

// refused makes sure that nobody answers.
func (r *rack) refused() ([]string, error) {
	all := []string{bootAddress, attestAddress, r.tink.Process.Address(), r.tink.Agents.Address(), r.tink.Actions.Address()}
	for _, address := range all {
		if c, err := r.network.Dial("tcp", address); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s was stopped, and accepts connections", address)
		}
	}
	return all, nil
}
