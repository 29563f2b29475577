package os_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/boot"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/ovmf"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestLKG has the whole rack lose its power, and its servers.
func TestLKG(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	if !bytes.Equal(r.file(slotA), r.boots.Program()) {
		t.Error("slot A is not what was booted")
	}

	r.Stop()
	r.boots.Publish(nil)
	m := r.boot(false)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	line := reach(m, machine.Fetch)
	must(t, line, "from=disk", "overlay=kept")
	if !strings.Contains(line.Get("why"), noAnswer) {
		t.Errorf("it says %v", line)
	}
	says(m, "configured by one")
	must(t, reach(m, machine.Kept), "from=disk", "overlay=kept", "why=")
	if got := ask(t, m, "cat /sys/class/tpm/tpm0/pcr-sha256/11 | cut -c 1-8; ls /var/lib/ember | grep -c sealed"); got != "0" {
		t.Errorf("%q copies of the configuration are left", got)
	}

	// The servers are back, with something newer: the machine goes for it by itself.
	r.seal(configured("two")...)
	r.serve()
	r.publish("second")
	must(t, reach(m, machine.Waiting), "overlay=kept", "why=the server answers")
	reboots(t, m)
	good := sha256.Sum256(r.file(slotA))
	r.keeps("second", "two")
	if !bytes.Equal(r.file(slotB), r.boots.Program()) {
		t.Error("slot B is not what was booted")
	}
	if sha256.Sum256(r.file(slotA)) != good {
		t.Error("slot A has changed")
	}

	// A firmware that has forgotten all entries boots what is at the default path, which was good before. Without a
	// server that one goes to what is good now.
	r.Stop()
	r.boots.Publish(nil)
	if err := os.Remove(filepath.Join(r.config.Dir, firmwareVars)); err != nil {
		t.Fatal(err)
	}
	m = r.boot(false)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	reach(m, machine.Leaving)
	reboots(t, m)
	m = r.boot(false)
	runs(m, "second")
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "overlay=kept")
	says(m, "configured by two")
}

// TestLKGBad has a machine go round ten times, with configurations that are bad and in power cuts, be refused, and come
// to rest with a good one.
func TestLKGBad(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	before := r.file(slotA)

	rounds := []badBoot{{files: ill("two"), why: "ill.service"}}
	for _, phase := range []machine.Phase{machine.Netboot, machine.Apply, machine.Start} {
		rounds = append(rounds,
			badBoot{files: unfit("two"), why: "the machine has a directory there"},
			badBoot{files: configured("two"), initrd: r.Path(station.Vendors), why: "is for another initrd"},
			badBoot{files: ill("two"), cut: phase})
	}
	for i, b := range rounds {
		r.fails(i+1, b)
	}
	if !bytes.Equal(r.file(slotA), before) || r.file(slotB) != nil {
		t.Error("the good slot has changed, or another one was written")
	}

	// A system from the disk is refused, too, and takes nothing that was kept.
	r.Policy = "{name: other, tiers: [attested], pcrs: {7: " + strings.Repeat("a", 64) + "}, overlay: " + rack + "}"
	r.configure()
	m := r.boot(false)
	must(t, reach(m, machine.Netboot), "from=disk", "attempt=11")
	m.Line(func(line string) bool {
		l, _ := stage.Parse(line)
		if l.Get("overlay") == "kept" || strings.Contains(line, "configured by") {
			t.Fatalf("it takes what was kept: %s", line)
		}
		return l.Get("phase") == string(machine.Waiting) && strings.Contains(l.Get("why"), refuses)
	})
	reboots(t, m)

	r.Policy = station.AnyMachine
	r.configure()
	r.seal(configured("three")...)
	r.keeps("first", "three")
	if !bytes.Equal(r.file(slotB), before) || !bytes.Equal(r.file(slotA), before) {
		t.Error("one of the slots is not what was booted")
	}
}

// TestLKGBootNext has a machine fall back: by BootNext, and where the firmware ignores that, by kexec.
func TestLKGBootNext(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	url, mend := r.breaks()
	r.publish("first", "ember.lkg_url="+url)

	// The boot server goes away while the machine gets what it wants to keep.
	m := r.boot(true)
	reach(m, machine.Commit)
	line := reach(m, machine.Kept)
	if why := line.Get("why"); !strings.Contains(why, "503") || strings.Contains(why, "after 0 ") || r.file(slotA) != nil {
		t.Errorf("it says %v", line)
	}
	m.Close()
	mend()
	r.keeps("first", "one")

	r.Stop()
	m = r.boot(true)
	must(t, reach(m, machine.Netboot), "from=network")
	if line := reach(m, machine.Leaving); !strings.Contains(line.Get("why"), noAnswer) {
		t.Errorf("it says %v", line)
	}
	reboots(t, m)
	forgetful := r.variables()
	m = r.boot(true)
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "overlay=kept")
	says(m, "configured by one")
	m.Close()

	r.setVariables(slices.DeleteFunc(forgetful, func(v ovmf.Variable) bool { return v.Name == "BootNext" }))
	m = r.boot(true)
	must(t, reach(m, machine.Netboot), "from=network")
	reach(m, machine.Leaving)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "overlay=kept")
	says(m, "configured by one")
	if got := ask(t, m, "ember status | grep '^boot '"); strings.Join(strings.Fields(got), " ") != "boot kexec" {
		t.Errorf("it says of its boot %q", got)
	}
}

// TestLKGSecureBoot has firmware that starts nothing but what is signed: a slot is, and PCR 7 opens its configuration.
func TestLKGSecureBoot(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.config.SecureBoot = readCertificate(t, "SECURE_BOOT_CERTIFICATE")
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	r.has(slotA, r.boots.Program())

	r.Stop()
	r.boots.Publish(nil)
	m := r.boot(false)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "from=disk", "overlay=kept")
	says(m, "configured by one")
	must(t, reach(m, machine.Kept), "from=disk", "overlay=kept", "why=")
	if on := ask(t, m, secureBootState); on != "1" {
		t.Errorf("the firmware says that Secure Boot is %q", on)
	}
}

// TestLKGFull has a partition without the room for two slots.
func TestLKGFull(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, 40<<20)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	m := r.boot(true)
	if line := reach(m, machine.Kept); !strings.Contains(line.Get("why"), "the EFI system partition has room for") {
		t.Errorf("it says %v", line)
	}
	m.Close()
	if r.file(slotA) != nil {
		t.Error("a slot was written")
	}
}

// TestLKGNoNetwork has the DHCP server gone as well: the node runs with what was kept, and does not go round because
// it has no network.
func TestLKGNoNetwork(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	r.Stop()
	c := r.config
	c.NICs, c.FirmwareOrder = []vm.NIC{card(startLab(t, silent("dead", "8")), "dead", "01")}, true
	m := vmtest.Start(t, c)
	m.Line(func(line string) bool { return strings.Contains(line, ">>Start HTTP Boot") }) // first, as the commit has it
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "overlay=kept")
	says(m, "configured by one")
	m.Line(func(line string) bool {
		return strings.Contains(line, "ember-network.service is starting") && strings.Contains(line, "stays as it is until the server answers")
	})
	if got := ask(t, m, "grep -o '\"Phase\": *\"[a-z]*\"' "+boot.Path); !strings.Contains(got, string(machine.Start)) {
		t.Errorf("it is in another phase: %s", got)
	}
}

// BenchmarkLKG measures a cold start without any server: from QEMU's start until the service of what was kept runs. The
// firmware tries a network that does not answer first; what passes until the kernel starts is its share. Of ours, the
// wait for the network is what ember.lkg_limits says.
func BenchmarkLKG(b *testing.B) {
	r := newRackMachine(b, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	r.Stop()
	dead := startLab(b, silent("dead", "8"))
	shares := map[string]time.Duration{}
	for b.Loop() {
		c := r.config
		c.CPUs, c.NICs, c.FirmwareOrder = 2, []vm.NIC{card(dead, "dead", "01")}, true // the network, then what was kept
		start := time.Now()
		m := vmtest.Start(b, c)
		line := reaches(m, stage.Start)
		shares["firmware"] += time.Since(start) - line.T
		netboot, fetch := reach(m, machine.Netboot).T, reach(m, machine.Fetch).T
		fetching := time.Now()
		says(m, "configured by one")
		shares["all"] += time.Since(start)
		shares["kernel-and-init"] += netboot
		shares["waiting"] += fetch - netboot
		shares["configuration-and-service"] += time.Since(fetching)
		m.Close()
	}
	for share, d := range shares {
		b.ReportMetric(d.Seconds()/float64(b.N), "s-"+share)
	}
}
