package os_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/lkg/esp"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/disk"
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

	// A firmware that has forgotten all entries boots what is at the default path, which was good before.
	if err := os.Remove(filepath.Join(r.config.Dir, firmwareVars)); err != nil {
		t.Fatal(err)
	}
	m = r.boot(false)
	runs(m, "first")
	must(t, reach(m, machine.Netboot), "from=disk")
	says(m, "configured by two")
}

// TestLKGBad has a machine go round with configurations that are bad, be refused, and come to rest with a good one.
func TestLKGBad(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	before := r.file(slotA)

	r.seal(ill("two")...)
	for attempt := 1; attempt <= 3; attempt++ {
		m := r.boot(true)
		line := reach(m, machine.Netboot)
		if got := line.Get("attempt"); attempt > 1 && got != fmt.Sprint(attempt) {
			t.Errorf("attempt %d says %v", attempt, line)
		}
		says(m, "configured by two")
		line = reach(m, machine.Waiting)
		if !strings.Contains(line.Get("why"), "ill.service") {
			t.Errorf("attempt %d says %v", attempt, line)
		}
		reboots(t, m)
	}
	if !bytes.Equal(r.file(slotA), before) || r.file(slotB) != nil {
		t.Error("the good slot has changed, or another one was written")
	}

	// A system from the disk is refused, too, and takes nothing that was kept.
	r.Policy = "{name: other, tiers: [attested], pcrs: {7: " + strings.Repeat("a", 64) + "}, overlay: " + rack + "}"
	r.configure()
	m := r.boot(false)
	must(t, reach(m, machine.Netboot), "from=disk", "attempt=4")
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
	r.publish("first")

	// The boot server goes away while the machine wants to keep what it has served.
	m := r.boot(true)
	reach(m, machine.Start)
	served := r.boots.Publish(nil)
	line := reach(m, machine.Kept)
	if !strings.Contains(line.Get("why"), "503") || r.file(slotA) != nil {
		t.Errorf("it says %v", line)
	}
	m.Close()
	r.boots.Publish(served)
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

// TestLKGWithout has machines that can keep nothing, say why, and do their work.
func TestLKGWithout(t *testing.T) {
	for _, test := range []struct {
		name string
		disk func(t *testing.T, path string) *vm.Disk // nil for none
		why  string
	}{
		{"NoDisk", nil, esp.ErrNone.Error()},
		{"BIOS", func(t *testing.T, path string) *vm.Disk { return &vm.Disk{Path: path} }, program.ErrUnmeasured.Error()},
		{"ReadOnly", func(t *testing.T, path string) *vm.Disk { return &vm.Disk{Path: path, ReadOnly: true} }, esp.ErrReadOnly.Error()},
		{"NoFAT", func(t *testing.T, path string) *vm.Disk {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.WriteAt(make([]byte, 4096), 1<<20)
				f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			return &vm.Disk{Path: path}
		}, esp.ErrNoFAT.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Append = "ember.debug=shell ember.lkg=on ember.lkg_limits=hold:1s"
			c.Net = vm.UserNet
			var before []byte
			path := filepath.Join(t.TempDir(), "disk")
			if test.disk != nil {
				if err := disk.Make(t.Context(), c.Root, path, nil, 0); err != nil {
					t.Fatal(err)
				}
				c.Disks = []vm.Disk{*test.disk(t, path)}
				before, _ = os.ReadFile(path)
			}
			m := vmtest.Start(t, c)
			line := reach(m, machine.Kept)
			if !strings.Contains(line.Get("why"), test.why) {
				t.Errorf("it says %v, want %q", line, test.why)
			}
			if got := ask(t, m, "ember services | grep -c multi-user.target"); got != "1" {
				t.Errorf("the workload has %s targets", got)
			}
			if after, _ := os.ReadFile(path); test.name != "BIOS" && !bytes.Equal(before, after) {
				t.Error("the disk was written")
			}
		})
	}
}

// BenchmarkLKG measures a cold start without any server: from QEMU's start until the node is healthy with what was
// kept. The firmware tries a network that does not answer first. What it takes until the kernel starts is its own, and
// of the rest the wait for the server is what ember.lkg_limits says.
func BenchmarkLKG(b *testing.B) {
	r := newRackMachine(b, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first")
	r.keeps("first", "one")
	r.Stop()
	dead := startLab(b, silent("dead", "8"))
	var firmware, ours time.Duration
	for b.Loop() {
		c := r.config
		card := dead.Port("dead")
		card.Boot = vm.HTTPBoot
		c.NICs = []vm.NIC{card}
		start := time.Now()
		m := vmtest.Start(b, c)
		line := await(m, stage.Start)
		firmware += time.Since(start) - line.T
		ours += reach(m, machine.Healthy).T
		m.Close()
	}
	b.ReportMetric(firmware.Seconds()/float64(b.N), "s-firmware")
	b.ReportMetric(ours.Seconds()/float64(b.N), "s-to-healthy")
}
