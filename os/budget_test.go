package os_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	leastAvailable = 1780 // MB of 2 GB, when the agent runs
	leastMemory    = 192  // MiB with which the agent starts
)

// budgets are those of a machine that Tinkerbell boots, with what CaptainOS needs for the same: its own
// image configuration, kernel 6.12.117 with its options, the same agent from a plain registry, QEMU 7.2
// under emulation on two cores, -m 2G -smp 2. No figure may be above its budget; one of which there must be
// atLeast so much, not below.
var budgets = []struct {
	what, unit        string
	budget, captainOS float64
	atLeast           bool
}{
	{"initrd", "MB", 25, 59.0, false},
	{"kernel", "MB", 11, 16.0, false},
	{"QEMU start to init", "s", 2.6, 6.6, false},
	{"QEMU start to containerd ready", "s", 4.5, 20.9, false},
	{"QEMU start to the agent started", "s", 8, 38.9, false},
	{"QEMU start to the agent started, one CPU", "s", 10, 63.4, false},
	{"memory available of 2 GB, agent running", "MB", leastAvailable, 1489, true},
	{"least memory with which the agent starts", "MiB", leastMemory, 544, false},
}

// TestMemoryBudgets holds the budgets of memory. Those of time depend on how busy the host is, and are held
// only by BenchmarkBudgets.
func TestMemoryBudgets(t *testing.T) {
	t.Run("Least", func(t *testing.T) {
		t.Parallel()
		_, c := toTinkerbell(t)
		c.CPUs, c.MemoryMiB = 2, leastMemory
		await(vmtest.Start(t, c), stage.Agent)
	})
	t.Run("Available", func(t *testing.T) {
		t.Parallel()
		if got := toAgent(t, 2).available; got < leastAvailable {
			t.Errorf("%.0f MB of 2 GB are available when the agent runs, want %d MB", got, leastAvailable)
		}
	})
}

// BenchmarkBudgets measures a machine that does what Tinkerbell's network-boot server tells it, until the
// real agent runs, prints a table, and fails if a budget is missed. Times are the medians of three boots,
// after one that is not counted: it brings QEMU, the kernel and the initrd into the host's memory.
func BenchmarkBudgets(b *testing.B) {
	measured := map[string]float64{
		"initrd": megabytes(b, vmtest.File(b, "INITRD")),
		"kernel": megabytes(b, vmtest.File(b, "KERNEL")),
	}
	for b.Loop() {
		toAgent(b, 2)
		two, one := boots{toAgent(b, 2), toAgent(b, 2), toAgent(b, 2)}, boots{toAgent(b, 1), toAgent(b, 1), toAgent(b, 1)}
		measured["QEMU start to init"] = two.median(func(t times) float64 { return t.init.Seconds() })
		measured["QEMU start to containerd ready"] = two.median(func(t times) float64 { return t.containerd.Seconds() })
		measured["QEMU start to the agent started"] = two.median(toAgentStarted)
		measured["QEMU start to the agent started, one CPU"] = one.median(toAgentStarted)
		measured["memory available of 2 GB, agent running"] = two.median(func(t times) float64 { return t.available })
		measured["least memory with which the agent starts"] = float64(agentFloor(b))
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwhat\tEmber\tbudget\tCaptainOS")
	for _, line := range budgets {
		got, ok := measured[line.what]
		fmt.Fprintf(w, "%s\t%.4g %[3]s\t%.4[4]g %[3]s\t%.4[5]g %[3]s\n", line.what, got, line.unit, line.budget, line.captainOS)
		if met := got == line.budget || got > line.budget == line.atLeast; !ok || !met {
			b.Errorf("%s: %.4g %s, the budget is %.4g %[3]s", line.what, got, line.unit, line.budget)
		}
	}
	w.Flush()
}

func megabytes(b *testing.B, path string) float64 {
	b.Helper()
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}

// toTinkerbell is a machine with a site that has work for it.
func toTinkerbell(t testing.TB) (*tinktest.Site, vm.Config) {
	t.Helper()
	l := startLab(t, lan("boot", "1"))
	nic := card(l, "boot", "01")
	site := tinktest.Start(t, l, tinktest.Options{
		Host:     netip.MustParseAddr("10.0.1.1"),
		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Say}}},
	})
	c := config(t)
	c.NICs, c.Append = []vm.NIC{nic}, site.Netboot(nic.MAC).CommandLine()
	return site, c
}

// times are those since QEMU was started.
type times struct {
	init, containerd, agent time.Duration
	available               float64 // memory in MB when the agent runs
}

func toAgentStarted(t times) float64 { return t.agent.Seconds() }

type boots []times

func (all boots) median(of func(times) float64) float64 {
	values := make([]float64, len(all))
	for i, t := range all {
		values[i] = of(t)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func toAgent(t testing.TB, cpus int) times {
	t.Helper()
	_, c := toTinkerbell(t)
	c.CPUs, c.MemoryMiB = cpus, 2048
	c.Append += " ember.debug=shell"
	var got times
	start := time.Now()
	m := vmtest.Start(t, c)
	await(m, stage.Start)
	got.init = time.Since(start)
	containerdReady(m)
	got.containerd = time.Since(start)
	await(m, stage.Agent)
	got.agent = time.Since(start)
	kib, err := strconv.ParseFloat(ask(t, m, "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"), 64)
	if err != nil {
		t.Fatal(err)
	}
	got.available = kib * 1024 / 1e6
	m.Close()
	return got
}

// agentFloor finds the least memory with which the agent starts, in MiB.
func agentFloor(b *testing.B) int {
	b.Helper()
	low, high := 64, 1024 // too little, enough
	for high-low > 8 {
		if middle := (low + high) / 2; agentStarts(b, middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high
}

// agentStarts tells whether the agent runs on a machine with this much memory. One with too little
// fails, reboots, or goes on trying.
func agentStarts(b *testing.B, mib int) bool {
	b.Helper()
	_, c := toTinkerbell(b)
	c.CPUs, c.MemoryMiB = 2, mib
	c.Append += " panic=-1"
	m := vmtest.Start(b, c)
	defer m.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	_, err := m.WaitLine(ctx, func(line string) bool {
		l, ok := stage.Parse(line)
		return ok && l.Name == stage.Agent
	})
	return err == nil
}
