package os_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf16"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/slot"
	"github.com/ember-os/ember/os/lkg/state"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/ovmf"
)

// Limits for a machine whose health takes turns, and one that nobody answers.
const (
	flapLimits  = "ember.lkg_limits=attest:20s,start:10m,hold:15s,wait:1s,longest:2s"
	faultLimits = "ember.lkg_limits=attest:20s,disk:2s,start:40s,hold:1s,wait:1s,longest:2s,probe:10m"
)

// flaps is a health command that fails twice on a machine of the variant "flaps": each time the node has become
// healthy.
const flaps = `#!/bin/sh
grep -q ' variant=flaps ' /proc/cmdline || exit 0
grep -q '"Phase": "healthy"' /run/ember/boot.json || exit 0
times=$(cat /run/flaps 2>/dev/null || echo 0)
[ $times -lt 2 ] || exit 0
echo $((times + 1)) >/run/flaps
exit 1
`

// TestLKGFaults has one thing after the other go wrong with a machine that keeps what booted it. Each time it comes up
// all the same, says what is wrong, and has a good slot.
func TestLKGFaults(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	other := filepath.Join(t.TempDir(), "other")
	if err := disk.Make(t.Context(), r.root(), other, nil, 0); err != nil {
		t.Fatal(err)
	}
	r.seal(append(configured("one"), station.File{Path: "etc/ember/health.d/flaps", Mode: 0o755, Text: flaps})...)
	r.start()
	r.publish("first", faultLimits)
	r.keeps("first", "one")
	first := r.file(slotA)

	// What is asked for while the machine keeps something, is to be done soon.
	r.step(t, "FlapsThenReboots", func(t *testing.T) {
		r.publish("flaps", flapLimits)
		m := r.boot(true)
		reach(m, machine.Netboot)
		for range 2 {
			reach(m, machine.Healthy)
			if line := reach(m, machine.Start); !strings.Contains(line.Get("why"), "command flaps") {
				t.Errorf("it says %v", line)
			}
		}
		reach(m, machine.Healthy)
		reach(m, machine.Commit)
		if err := m.CtrlAltDel(t.Context()); err != nil {
			t.Fatal(err)
		}
		reboots(t, m)
		r.good()
		r.has(slotA, first)
	})

	// The firmware has forgotten the order, and makes one of its own, and both records are zeros.
	r.step(t, "StateAndOrderLost", func(t *testing.T) {
		r.setVariables(slices.DeleteFunc(r.variables(), func(v ovmf.Variable) bool { return v.Name == "BootOrder" }))
		r.damage(slot.StateFile, 0, make([]byte, state.FileSize))
		r.publish("second", faultLimits)
		m := r.boot(true)
		says(m, "the state of last-known-good is lost")
		must(t, reach(m, machine.Kept), "from=network", "why=")
		m.Close()
		if good := r.good(); good != state.B {
			t.Errorf("slot %v is the good one", good)
		}
		r.has(slotA, first)
		r.has(slotB, r.boots.Program())
		if got := r.order(); len(got) < 3 || !strings.Contains(got[0], "HTTP") || got[1] != "Ember B" || got[2] != "Ember A" {
			t.Errorf("the firmware boots %q", got)
		}
	})

	// The good slot is no program any more, and nobody answers: firmware goes on to the other one.
	r.step(t, "OneSlotBad", func(t *testing.T) {
		r.damage(slotB, 0, make([]byte, 512))
		r.Stop()
		m := r.boot(false)
		runs(m, "first")
		must(t, reach(m, machine.Netboot), "from=disk")
		must(t, reach(m, machine.Fetch), "from=disk", "overlay=kept")
		says(m, "configured by one")
		must(t, reach(m, machine.Kept), "from=disk", "overlay=kept", "why=")
		m.Close()
		if good := r.good(); good != state.A {
			t.Errorf("slot %v is the good one", good)
		}
	})

	// Neither slot is whole, there is a second partition, and the server comes back.
	r.step(t, "BothSlotsBad", func(t *testing.T) {
		r.config.Disks = append(r.config.Disks, vm.Disk{Path: other})
		before := readFile(t, other)
		r.damage(slotA, int64(len(first)/2), []byte{first[len(first)/2] ^ 1})
		m := r.boot(true)
		runs(m, "second")
		says(m, "there is no last-known-good: ")
		r.serve()
		must(t, reach(m, machine.Kept), "from=network", "why=")
		m.Close()
		if good := r.good(); good != state.B {
			t.Errorf("slot %v is the good one", good)
		}
		r.has(slotB, r.boots.Program())
		if !bytes.Equal(readFile(t, other), before) {
			t.Error("the other disk was written")
		}
	})
}

// TestLKGVariablesFull has a firmware without room for variables. What is kept is good, and kexec starts it.
func TestLKGVariablesFull(t *testing.T) {
	t.Parallel()
	r := newRackMachine(t, espFree)
	r.seal(configured("one")...)
	r.start()
	r.publish("first", faultLimits)
	r.keeps("first", "one")
	first := r.file(slotA)

	r.fillVariables()
	r.publish("second", faultLimits)
	m := r.boot(true)
	reach(m, machine.Commit)
	full := func() {
		t.Helper()
		if line := reach(m, machine.Kept); !strings.Contains(line.Get("why"), "the firmware has no room for more") {
			t.Errorf("it says %v", line)
		}
	}
	full()
	m.Close()
	if good := r.good(); good != state.B {
		t.Errorf("slot %v is the good one", good)
	}
	r.has(slotA, first)
	r.has(slotB, r.boots.Program())
	if got := r.order(); slices.Contains(got, "Ember B") {
		t.Errorf("the firmware boots %q", got)
	}

	r.Stop()
	m = r.boot(true)
	must(t, reach(m, machine.Netboot), "from=network")
	reach(m, machine.Leaving)
	runs(m, "second")
	must(t, reach(m, machine.Netboot), "from=disk")
	must(t, reach(m, machine.Fetch), "overlay=kept")
	says(m, "configured by one")
	full()
}

// badBoot is one that does not lead to a healthy node.
type badBoot struct {
	files  []station.File // of the configuration
	initrd string         // that it is for; "" for any
	cut    machine.Phase  // in which the power is cut; "" if the machine reboots by itself
	why    string         // it does
}

// fails boots from the network. It is the attempt of that number.
func (r *rackMachine) fails(attempt int, b badBoot) {
	r.t.Helper()
	r.Sealing = nil
	if b.initrd != "" {
		r.Sealing = []string{"--initrd", b.initrd}
	}
	r.seal(b.files...)
	r.Sealing = nil
	m := r.boot(true)
	line := reach(m, machine.Netboot)
	if got := line.Get("attempt"); attempt > 1 && got != fmt.Sprint(attempt) {
		r.t.Errorf("attempt %d says %v", attempt, line)
	}
	switch b.cut {
	case "":
		if line := reach(m, machine.Waiting); !strings.Contains(line.Get("why"), b.why) {
			r.t.Errorf("attempt %d says %v", attempt, line)
		}
		reboots(r.t, m)
	case machine.Netboot:
		m.Close()
	default:
		reach(m, b.cut)
		m.Close()
	}
}

// unfit is an overlay with a file where machines have a folder.
func unfit(name string) []station.File {
	return append(configured(name), station.File{Path: "etc/ssl", Mode: 0o644, Text: "no folder\n"})
}

// breaks is where the system can be had that the boot server has: half of it once, and then nothing, until it is
// mended.
func (r *rackMachine) breaks() (url string, mend func()) {
	r.t.Helper()
	const address = bootServer + ":81"
	var asked, mended atomic.Bool
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		system := r.boots.Program()
		again := asked.Swap(true)
		switch {
		case mended.Load():
			w.Write(system)
		case again:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.Header().Set("Content-Length", fmt.Sprint(len(system)))
			w.Write(system[:len(system)/2])
			panic(http.ErrAbortHandler)
		}
	})}
	go server.Serve(r.lab.Listen("tcp", address))
	r.t.Cleanup(func() { server.Close() })
	return "http://" + address + "/" + ukiName, func() { mended.Store(true) }
}

// step is a part of a test, which is over if it fails.
func (r *rackMachine) step(t *testing.T, name string, do func(t *testing.T)) {
	whole := t
	if !t.Run(name, func(t *testing.T) {
		r.t, r.site.t = t, t
		defer func() { r.t, r.site.t = whole, whole }()
		do(t)
	}) {
		t.FailNow()
	}
}

// good is the good slot, which has to be whole.
func (r *rackMachine) good() state.Slot {
	r.t.Helper()
	s, err := slot.Open(fattest.From(r.partition()), slotA, state.None)
	if err != nil {
		r.t.Fatal(err)
	}
	good, err := s.Good(r.t.Context())
	if good == state.None || err != nil {
		r.t.Fatalf("slot %v is good: %v", good, err)
	}
	return good
}

// has checks a file of the partition.
func (r *rackMachine) has(name string, want []byte) {
	r.t.Helper()
	if got := r.file(name); !bytes.Equal(got, want) {
		r.t.Errorf("%s has %d bytes, and not the %d it should", name, len(got), len(want))
	}
}

// damage writes into a file of the partition.
func (r *rackMachine) damage(name string, at int64, b []byte) {
	r.t.Helper()
	d := fattest.From(r.partition())
	f, err := d.Open(name)
	if err == nil {
		_, err = f.WriteAt(b, at)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	writeAt(r.t, r.image, disk.Start, d.Image())
}

// writeAt writes into a file that there is.
func writeAt(t testing.TB, path string, at int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}

// order are the titles of what the firmware boots.
func (r *rackMachine) order() (titles []string) {
	r.t.Helper()
	all := map[string][]byte{}
	for _, v := range r.variables() {
		if v.Vendor == ovmf.Global {
			all[v.Name] = v.Data
		}
	}
	le := binary.LittleEndian
	for order := all["BootOrder"]; len(order) >= 2; order = order[2:] {
		entry := all[fmt.Sprintf("Boot%04X", le.Uint16(order))]
		var title []uint16
		for at := 6; at+2 <= len(entry) && le.Uint16(entry[at:]) != 0; at += 2 { // behind the attributes and a length
			title = append(title, le.Uint16(entry[at:]))
		}
		titles = append(titles, string(utf16.Decode(title)))
	}
	return titles
}

// fillVariables leaves the firmware room for what it needs to boot, and Linux none: it keeps 5 KB free.
func (r *rackMachine) fillVariables() {
	r.t.Helper()
	image := readFile(r.t, filepath.Join(r.config.Dir, firmwareVars))
	ballast := func(size int) ovmf.Variable {
		return ovmf.Variable{Name: "Ballast", Vendor: ovmf.GUID{1}, Attributes: ovmf.NonVolatile | ovmf.BootAccess | ovmf.RuntimeAccess, Data: make([]byte, size)}
	}
	variables, reserve := r.variables(), ballast(4000)
	for n, size := 0, 4096; size >= 256; n++ {
		v := ballast(size)
		v.Name += fmt.Sprint(n)
		if _, err := ovmf.Write(image, append(slices.Clone(variables), v, reserve)); err != nil {
			size /= 2
			continue
		}
		variables = append(variables, v)
	}
	r.setVariables(variables)
}
