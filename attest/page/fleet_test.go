package page

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

// now is the time of all tests.
var now = time.Date(2026, 5, 4, 9, 30, 0, 0, time.UTC)

// open gives an empty registry and its page.
func open(t testing.TB) (*store.Registry, http.Handler) {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	clock := func() time.Time { return now }
	r := store.NewRegistry(s, clock)
	return r, New(Config{Registry: r, Log: slog.New(slog.DiscardHandler), Names: []string{"status.example"}, Now: clock})
}

// nodeOf names the machine of that number.
func nodeOf(i int) string {
	sum := sha256.Sum256(fmt.Append(nil, "machine ", i))
	return hex.EncodeToString(sum[:])
}

func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// fill writes n machines, of which a few are of each kind that needs somebody.
func fill(t testing.TB, r *store.Registry, n int) {
	t.Helper()
	var all sync.WaitGroup
	room := make(chan struct{}, 256)
	errs := make([]error, n)
	for i := range n {
		all.Go(func() {
			room <- struct{}{}
			errs[i] = member(r, i)
			<-room
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

var models = []string{"PowerEdge R640", "PowerEdge R660", "ProLiant DL360 Gen11", "SYS-121H-TNR"}
var vendors = []string{"Dell Inc.", "Dell Inc.", "HPE", "Supermicro"}

func verdictOf(i int) store.Verdict {
	v := store.Verdict{
		Node: nodeOf(i), Time: now.Add(-time.Duration(i*37%86400) * time.Second), Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
		Code: store.Granted, Policy: "workers", Tier: protocol.Attested, Overlay: "workers", Version: 7, Certificate: fmt.Sprintf("5c%06x", i),
		Claims: protocol.Claims{
			Image: "1.4.0", Vendor: vendors[i%4], Model: models[i%4], Serial: fmt.Sprintf("8XK%05d", i),
			Hostname: fmt.Sprintf("node-%02d-%02d.rack.example", i/48%99, i%48),
		},
	}
	if i%11 == 0 {
		v.Tier = protocol.Enrolled
	}
	if i%17 == 0 {
		v.Claims.Image, v.Version = "1.3.2", 6
	}
	return v
}

// member writes the machine of that number.
func member(r *store.Registry, i int) error {
	ctx, v := context.Background(), verdictOf(i)
	switch {
	case i%250 == 5:
		_, err := r.Enqueue(ctx, store.Waiting{Node: v.Node, Address: v.Address, Problem: "ek-untrusted", Issuer: "CN=Contoso TPM CA 3,O=Contoso", Claims: v.Claims}, 1<<20)
		return err
	case i%500 == 7:
		return r.Attest(ctx, v, 0)
	case i%300 == 9:
		return r.Enroll(ctx, v.Node, "rack 7, not delivered yet", "ann")
	case i%700 == 11:
		return r.Revoke(ctx, v.Node, "stolen", "bob")
	}
	if err := errors.Join(r.Attest(ctx, v, 0), r.Prove(ctx, v, evidence(v.Time, false))); err != nil {
		return err
	}
	if i%200 == 1 {
		v.Certificate, v.Code, v.Reason, v.Differs = "", "policy-pcr", fmt.Sprintf("workers: PCR 4 is %x", digest("evil")), []int{4}
		v.Time = v.Time.Add(time.Minute)
		return r.Refuse(ctx, v, evidence(v.Time, true), true)
	}
	report := store.Report{Node: v.Node, Time: v.Time.Add(time.Minute), Address: v.Address, Certificate: v.Certificate, Health: protocol.Health{State: "healthy"}, Stages: stages, Status: inventoryText}
	if i%333 == 2 {
		report.Health = protocol.Health{State: "failing", Why: "1 failed: kubelet.service"}
	}
	progress := store.Progress{Stage: "agent", Since: 21 * time.Second, Boot: "network"}
	if i%61 == 0 {
		progress.Boot = "disk"
	}
	return r.Report(ctx, report, progress)
}

// evidence is that of a machine which has started another boot loader than it should, or not.
func evidence(at time.Time, other bool) store.Evidence {
	e := store.Evidence{Time: at, Policy: "workers"}
	kernel := "kernel"
	if other {
		kernel = "evil"
	}
	for i := range 16 {
		p := store.PCR{Index: i, Value: digest(fmt.Sprint("pcr", i)), Explained: true}
		switch {
		case i == 4:
			p.Value, p.Want, p.Differs = digest(kernel), [][]byte{digest("kernel")}, other
		case i == 7:
			p.Want = [][]byte{p.Value}
		case i == 9:
			p.Events = true
		case i > 9:
			p.Value = make([]byte, 32)
		}
		e.PCRs = append(e.PCRs, p)
	}
	for _, event := range []struct {
		pcr  int
		kind uint32
		text string
	}{
		{0, 0x08, "2.19.1"}, {0, 0x8000000a, ""}, {7, 0x80000001, "SecureBoot"}, {7, 0x80000001, "PK"}, {7, 0x80000001, "KEK"}, {7, 0x80000001, "db"},
		{7, 0x80000001, "dbx"}, {1, 0x80000002, "BootOrder"}, {1, 0x80000002, "Boot000A"}, {2, 0x80000004, ""}, {4, 0x80000007, "Calling EFI Application from Boot Option"},
		{7, 4, ""}, {4, 4, ""}, {5, 0x80000006, ""}, {4, 0x80000003, ""}, {7, 0x800000e0, "db"}, {9, 6, ""}, {5, 0x80000007, "Exit Boot Services Invocation"},
		{5, 0x80000007, "Exit Boot Services Returned with Success"},
	} {
		seed := fmt.Sprint(event)
		if event.kind == 0x80000003 {
			seed += kernel
		}
		e.Events = append(e.Events, store.Event{PCR: event.pcr, Type: event.kind, Text: event.text, Digest: digest(seed)})
	}
	return e
}

var stages = []string{
	"ember: stage=start t=1.204 version=1.4.0 release=6.12.117-ember", "ember: stage=devices t=1.209", "ember: stage=cmdline t=1.211",
	"ember: stage=console t=1.240", "ember: stage=tree t=1.388 files=2841", "ember: stage=root t=1.402", "ember: stage=mounts t=1.431",
	"ember: stage=power t=1.440", "ember: stage=watchdog t=1.449 watchdog=iTCO_wdt timeout=60s", "ember: stage=clock t=1.452",
	"ember: stage=services t=1.490 units=14", "ember: stage=ready t=1.491", "ember: stage=network t=6.318 link=eth0 address=10.0.3.7",
	"ember: stage=time t=7.102 source=10.0.0.1", "ember: stage=attest t=11.940 tier=attested node=" + nodeOf(1) + " overlay=7", "ember: stage=agent t=20.871",
}

var inventoryText = json.RawMessage(`{"Version":"1.4.0","Kernel":"6.12.117-ember","Hardware":{"System":{"Vendor":"Dell Inc.","Product":"PowerEdge R640","Serial":"8XK2M33"},
"CPU":{"Model":"Intel(R) Xeon(R) Gold 6130 CPU @ 2.10GHz","Sockets":2,"Cores":32,"Threads":64},"Memory":{"Usable":403000000000,"Installed":412316860416},
"Firmware":{"UEFI":true,"Vendor":"Dell Inc.","Version":"2.19.1","Date":"06/04/2023","SecureBoot":"on"},"TPM":{"Version":"2.0","Driver":"tpm_tis"},
"Disks":[{"Name":"sda","Bytes":479559942144,"Model":"PERC H740P Mini","Serial":"00ab12","Transport":"raid"},{"Name":"nvme0n1","Bytes":1920383410176,"Model":"Dell Ent NVMe P5600","Transport":"nvme"}],
"NICs":[{"Name":"eth0","MAC":"e4:43:4b:00:00:02","Driver":"bnxt_en","Carrier":true,"SpeedMbit":25000},{"Name":"eth1","MAC":"e4:43:4b:00:00:03","Driver":"bnxt_en"}]},
"Services":[{"Name":"containerd.service","State":"active"}],"Problems":[]}`)
