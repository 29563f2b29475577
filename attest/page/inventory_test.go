package page

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/ember-os/ember/os/status"
)

// What a machine reports is shown: this is "ember status --json", as its own test has it.
func TestInventory(t *testing.T) {
	b, err := os.ReadFile("../../os/status/testdata/rack.json")
	if err != nil {
		t.Fatal(err)
	}
	i := readInventory(b)
	if i == nil {
		t.Fatal("it is not understood")
	}
	want := []fact{
		{"System", "Dell Inc. PowerEdge R640, serial 8XK2M33"},
		{"Ember", "2026.11, Linux 6.12.117-ember"},
		{"CPU", "Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz, 2 sockets, 32 cores, 64 threads"},
		{"Memory", "384 GiB installed, 375.3 GiB usable"},
		{"Firmware", "UEFI, Dell Inc. 2.19.1, 06/04/2023, Secure Boot off"},
		{"TPM", "2.0, tpm_tis"},
		{"Disk nvme0n1", "1.6 TB, nvme, Dell Express Flash PM1725b 1.6TB SFF, serial S3X0NA0K"},
		{"Disk sda", "479.6 GB, raid, PERC H740P Mini, serial 00ab12"},
		{"NIC eth0", "e4:43:4b:00:00:02, 25000 Mbit/s, bnxt_en"},
		{"NIC eth1", "e4:43:4b:00:00:03, no carrier, bnxt_en"},
		{"NIC usb0", "54:48:10:00:00:03, carrier, cdc_ether"},
		{"Failed", "kubelet.service"},
		{"Problems", "/run/ember/services.json: unexpected end of JSON input"},
	}
	if got := i.Facts(); !slices.Equal(got, want) {
		t.Errorf("shown is %q, want %q", got, want)
	}
}

// Every field that is looked for is one that machines report.
func TestInventoryFields(t *testing.T) {
	i := readInventory([]byte(`{"Hardware":{"Disks":[{}],"NICs":[{}]},"Services":[{}],"Problems":[""]}`))
	b, err := json.Marshal(i)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(new(status.Report)); err != nil {
		t.Error(err)
	}
}
