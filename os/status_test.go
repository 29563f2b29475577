package os_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/hardware"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/status"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestStatus compares what a machine says of itself with what it was given.
func TestStatus(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	image := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	l := startLab(t, lan("boot", "1"), silent("dead", "8"))
	c := config(t)
	c.Append, c.TPM, c.CPUs = "ember.debug=shell", vm.CRB, 2
	c.NICs = []vm.NIC{card(l, "boot", "01"), card(l, "dead", "02")}
	c.NICs[1].Model = "e1000e"
	c.Disks = []vm.Disk{{Path: image}}
	c.Args = []string{"-global", "virtio-blk-pci.serial=boot7", "-device", "pci-testdev"}
	m := vmtest.Start(t, c)
	await(m, stage.Network)
	await(m, stage.Time)

	var r status.Report
	if text := ask(t, m, `ember status --json | tr -d '\n'`); json.Unmarshal([]byte(text), &r) != nil {
		t.Fatalf("this is not a report:\n%s", text)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: it says %+v, want %+v", what, got, want)
		}
	}
	h := r.Hardware
	check("processors", h.CPU.Threads, c.CPUs)
	check("memory", h.Memory.Installed, uint64(c.MemoryMiB)<<20)
	check("UEFI", h.Firmware.UEFI, c.UEFI)
	check("boot", h.Boot, hardware.Boot{})
	check("TPM", h.TPM, &hardware.TPM{Version: "2.0", Driver: "tpm_crb"})
	var disks []string
	for _, d := range h.Disks {
		disks = append(disks, fmt.Sprint(d.Name, " ", d.Bytes, " ", d.Serial, " ", d.Transport))
	}
	check("disks", disks, []string{fmt.Sprint("vda ", size, " boot7 virtio")})
	var nics []string
	for _, n := range h.NICs {
		nics = append(nics, n.Name+" "+n.MAC+" "+n.Driver+" "+n.ID)
	}
	check("NICs", nics, []string{"eth0 " + c.NICs[0].MAC + " virtio_net 1af4:1000", "eth1 " + c.NICs[1].MAC + " e1000e 8086:10d3"})
	if !slices.ContainsFunc(h.Unclaimed, func(d hardware.PCIDevice) bool { return d.ID == "1b36:0005" }) {
		t.Errorf("QEMU's test device is not among those without a driver: %+v", h.Unclaimed)
	}
	check("online", r.Network.Online, true)
	check("link", r.Network.Link, "eth0")
	check("name servers", r.Network.DNS, []netip.Addr{netip.MustParseAddr("10.0.1.1")})
	check("time servers", r.Network.NTP, []string{"10.0.1.1"})
	check("synchronised", r.Clock.Synchronised, true)
	check("by", r.Clock.Source, "10.0.1.1")
	if !slices.ContainsFunc(r.Services, func(s status.Service) bool { return s.Name == "ember-time.service" }) {
		t.Errorf("the services are %+v", r.Services)
	}
	check("last boot", r.LastBoot, status.LastBoot{})
	check("problems", r.Problems, []string(nil))

	// What people read says the same.
	labels := []string{"machine", "cpu", "memory", "firmware", "tpm", "disk", "no driver", "network"}
	isOf := func(line string) bool {
		return slices.ContainsFunc(labels, func(label string) bool { return strings.HasPrefix(line, label+" ") })
	}
	rows := slices.DeleteFunc(r.Lines(), func(line string) bool { return !isOf(line) })
	check("rows", ask(t, m, "ember status | grep -E '^("+strings.Join(labels, "|")+") ' | paste -sd'|'"), strings.Join(rows, "|"))
}
