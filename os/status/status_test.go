package status

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/bootreason"
	"github.com/ember-os/ember/os/crash"
	"github.com/ember-os/ember/os/hardware"
	"github.com/ember-os/ember/os/health"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/netstate"
	"github.com/ember-os/ember/os/timed"
)

var update = flag.Bool("update", false, "write the golden files anew")

var at = time.Date(2026, 11, 21, 7, 4, 19, 0, time.UTC)

// rack is a server with something of everything.
var rack = Report{
	Version: "2026.11", Kernel: "6.12.117-ember", Uptime: 12345 * time.Millisecond,
	Hardware: hardware.Machine{
		System: hardware.System{Vendor: "Dell Inc.", Product: "PowerEdge R640", Serial: "8XK2M33"},
		CPU:    hardware.CPU{Model: "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz", Sockets: 2, Cores: 32, Threads: 64},
		Memory: hardware.Memory{Usable: 403000000000, Installed: 384 << 30, Modules: 12, Slots: 24},
		Firmware: hardware.Firmware{UEFI: true, Vendor: "Dell Inc.", Version: "2.19.1", Date: "06/04/2023",
			SecureBoot: hardware.SecureBootOff},
		Boot: hardware.Boot{Network: true, MAC: "e4:43:4b:00:00:02", Link: "eth0", Entry: "Boot000A", Description: "PXE Slot 1"},
		TPM:  &hardware.TPM{Version: "2.0", Driver: "tpm_tis"},
		Disks: []hardware.Disk{
			{Name: "nvme0n1", Bytes: 1600321314816, Model: "Dell Express Flash PM1725b 1.6TB SFF", Serial: "S3X0NA0K", Transport: hardware.NVMe},
			{Name: "sda", Bytes: 479559942144, Model: "PERC H740P Mini", Serial: "00ab12", Transport: hardware.RAID, Rotational: true},
		},
		NICs: []hardware.NIC{
			{Name: "eth0", MAC: "e4:43:4b:00:00:02", Driver: "bnxt_en", Address: "0000:19:00.0", ID: "14e4:16d7", Carrier: true, SpeedMbit: 25000},
			{Name: "eth1", MAC: "e4:43:4b:00:00:03", Driver: "bnxt_en", Address: "0000:19:00.1", ID: "14e4:16d7"},
			{Name: "usb0", MAC: "54:48:10:00:00:03", Driver: "cdc_ether", ID: "413c:a102", Carrier: true},
		},
		Unclaimed: []hardware.PCIDevice{
			{Address: "0000:03:00.0", ID: "102b:0536", Class: "0300"},
			{Address: "0000:3b:00.0", ID: "15b3:1017", Class: "0200"},
			{Address: "0000:3b:00.1", ID: "15b3:1017", Class: "0200"},
		},
	},
	Network: netstate.State{
		Settled: true, Online: true, Link: "eth0.7", Hostname: "node7", Domain: "rack.example",
		DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, NTP: []string{"10.0.0.1", "ntp.example"},
		Links: []netstate.Link{
			{Name: "eth0", Carrier: true},
			{Name: "eth0.7", MAC: "e4:43:4b:00:00:02", Kind: "vlan", Carrier: true, Addresses: []netstate.Address{
				{Prefix: netip.MustParsePrefix("10.0.0.7/24"), Gateway: netip.MustParseAddr("10.0.0.254"), Source: netstate.DHCP4,
					Server: netip.MustParseAddr("10.0.0.1"), Expires: time.Hour},
				{Prefix: netip.MustParsePrefix("2001:db8::7/64"), Source: netstate.SLAAC},
			}},
			{Name: "eth1", Note: "no carrier"},
			{Name: "usb0", Carrier: true, Note: "its lease has no route"},
		},
	},
	Clock: timed.State{Synchronised: true, Source: "10.0.0.1", Offset: 1234567 * time.Nanosecond, Stratum: 3, LastUpdate: at},
	Services: []Service{{Name: "containerd.service", State: "active"}, {Name: "kubelet.service", State: "failed", Problems: []string{"x"}},
		{Name: "ember-log.service", State: "active"}, {Name: "ember-trust.service", State: "exited"}},
	Health: health.Report{Since: 2 * time.Second, Checks: []health.Check{
		{Name: "services", Reason: "kubelet.service has failed"}, {Name: "command disks", Healthy: true, Reason: "it has ended well"},
		{Name: "kubernetes", Healthy: true, Reason: "node node7 is ready", Failed: 3},
	}},
	LastBoot: LastBoot{
		Reboot: &bootreason.Record{Text: "reboot asked for by SIGTERM", Time: at.Add(-time.Minute), Uptime: 3 * time.Hour},
		Crash: &crash.Dump{Reason: "Panic", Time: at.Add(-time.Minute), Summary: "BUG: kernel NULL pointer dereference, address: 0000000000000008",
			Older: 1, Tail: []logline.Line{{Severity: logline.Emergency, Text: "[   12.500000] Kernel panic - not syncing: Fatal exception"}}},
		Resets: []crash.Reset{{Watchdog: "iTCO_wdt", Causes: []string{"watchdog ran out"}}},
	},
	Problems: []string{"/run/ember/services.json: unexpected end of JSON input"},
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant %s:\n%s", got, path, want)
	}
}

func text(lines []string) []byte { return []byte(strings.Join(lines, "\n") + "\n") }

func TestLines(t *testing.T) { golden(t, "rack.txt", text(rack.Lines())) }

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := writeJSON(&b, rack); err != nil {
		t.Fatal(err)
	}
	golden(t, "rack.json", b.Bytes())
	var again Report
	if err := json.Unmarshal(b.Bytes(), &again); err != nil || !reflect.DeepEqual(again, rack) {
		t.Errorf("read back %+v, %v", again, err)
	}
}

// TestMany is a storage server of which much is alike.
func TestMany(t *testing.T) {
	var r Report
	for i := range 24 {
		r.Hardware.Disks = append(r.Hardware.Disks, hardware.Disk{Name: "sd" + string(rune('a'+i)), Bytes: 8001563222016, Model: "ST8000NM0055",
			Serial: fmt.Sprint(i), Transport: hardware.SAS, Rotational: true})
	}
	r.Hardware.Disks = append(r.Hardware.Disks, hardware.Disk{Name: "vda", Bytes: 1 << 30, Transport: hardware.Virtio, Rotational: true})
	for i := range 8 {
		r.Hardware.NICs = append(r.Hardware.NICs, hardware.NIC{Name: fmt.Sprint("eth", i), MAC: fmt.Sprint("02:00:00:00:00:0", i), Carrier: i == 5})
	}
	for i := range 40 {
		r.Hardware.Unclaimed = append(r.Hardware.Unclaimed, hardware.PCIDevice{Address: fmt.Sprintf("0000:16:%02x.0", i),
			ID: fmt.Sprint("8086:208", i%10), Class: "0880"})
	}
	r.Hardware.Unclaimed = append(r.Hardware.Unclaimed, hardware.PCIDevice{Address: "0000:f0:00.0", ID: "1000:00e7", Class: "0104"})
	r.Hardware.Boot.Kexec = true
	r.Clock.Why = "no server answers"
	golden(t, "many.txt", text(r.Lines()))
}

func TestNothing(t *testing.T) { golden(t, "nothing.txt", text(Report{}.Lines())) }

// write writes a file of a machine whose root is a directory of the test.
func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestGather(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/sys/kernel/osrelease", "6.12.117-ember\n")
	write(t, root, "proc/uptime", "12.50 20.00\n")
	write(t, root, "proc/cmdline", "console=ttyS0 registry_password=secret hw_addr=52:54:00:12:34:56\n")
	write(t, root, "sys/class/dmi/id/sys_vendor", "QEMU\n")
	write(t, root, "run/ember/network.json", `{"Online": true, "Link": "eth0"}`)
	write(t, root, "run/ember/time.json", `{"Synchronised": true, "Source": "10.0.2.2", "Offset": -1000, "Stratum": 2, "Other": 1}`)
	write(t, root, "run/ember/services.json", `[{"Name": "a.service", "State": "active", "PID": 7}]`)
	write(t, root, "run/ember/last-boot.json", `{"Resets": `)
	r := gather(root)
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "last-boot.json") {
		t.Errorf("problems: %q", r.Problems)
	}
	if r.Kernel != "6.12.117-ember" || r.Uptime != 12500*time.Millisecond || r.Hardware.System.Virtualisation != "qemu" ||
		r.Hardware.Boot.MAC != "52:54:00:12:34:56" || !r.Network.Online || r.Clock.Offset != -time.Microsecond ||
		!reflect.DeepEqual(r.Services, []Service{{Name: "a.service", State: "active"}}) {
		t.Errorf("got %+v", r)
	}
	var b bytes.Buffer
	if err := writeJSON(&b, r); err != nil || strings.Contains(b.String(), "secret") {
		t.Errorf("the document is %v\n%s", err, &b)
	}
	if r := gather(t.TempDir()); r.Problems != nil {
		t.Errorf("of an empty tree: %q", r.Problems)
	}
}

func TestBoot(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/uptime", "5.00 9.00\n")
	write(t, root, "sys/fs/pstore/dmesg-efi_pstore-1", "Panic#1 Part1\n<0>[    9.1] Kernel panic - not syncing: sysrq triggered crash\n")
	write(t, root, "sys/class/watchdog/watchdog0/bootstatus", "32\n")
	write(t, root, "dev/pmsg0", "")
	places := bootreason.Places{Variables: filepath.Join(root, "absent"), Pmsg: filepath.Join(root, "dev/pmsg0")}
	if err := places.Save(*rack.LastBoot.Reboot); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(root, "dev/pmsg0"), filepath.Join(root, "sys/fs/pstore/pmsg-ramoops-0")); err != nil {
		t.Fatal(err)
	}
	var first string
	for _, want := range [][]string{
		{"<6>last boot reboot asked for by SIGTERM, 2026-11-21 07:03:19 UTC,", "<6>          after 3h0m0s", "<3>the last kernel crashed: Panic, Kernel panic - not syncing",
			"<4>crash: [    9.1] Kernel panic - not syncing: sysrq triggered crash", "<4>the machine was reset: watchdog ran out, says watchdog watchdog0"},
		{"<6>last boot reboot asked for by SIGTERM"}, // when it is started again
	} {
		var b bytes.Buffer
		if err := bootReport(bufio.NewWriter(&b), root); err != nil {
			t.Fatal(err)
		}
		for _, line := range want {
			if !strings.Contains("\n"+b.String(), "\n"+line) {
				t.Errorf("no line begins with %q in\n%s", line, &b)
			}
		}
		if first == "" {
			first = b.String()
		} else if b.String() != first {
			t.Errorf("started again it writes\n%s", &b)
		}
		if left, err := os.ReadDir(filepath.Join(root, "sys/fs/pstore")); err != nil || len(left) > 0 {
			t.Errorf("left in the store: %v, %v", left, err)
		}
	}
	if r := gather(root); r.LastBoot.Crash == nil || r.LastBoot.Reboot == nil || len(r.LastBoot.Resets) != 1 || r.Problems != nil {
		t.Errorf("later: %+v", r)
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"--boot --json", "x", "--nonsense"} {
		if status := Main(strings.Fields(args)); status != 2 {
			t.Errorf("%q: status %d", args, status)
		}
	}
}
