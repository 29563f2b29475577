package os_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// budgets are those of a machine that Tinkerbell boots, with what CaptainOS needs for the same: its own
// image configuration, kernel 6.12.117 with its options, the same agent from a plain registry, QEMU 7.2
// under emulation on two cores, -m 2G -smp 2.
var budgets = []struct {
	what, unit        string
	budget, captainOS float64
}{
	{"initrd", "MB", 25, 59.0},
	{"kernel", "MB", 11, 16.0},
	{"QEMU start to init", "s", 2.6, 6.6},
	{"QEMU start to containerd ready", "s", 4.5, 20.9},
	{"QEMU start to the agent started", "s", 8, 38.9},
	{"QEMU start to the agent started, one CPU", "s", 10, 63.4},
	{"memory available of 2 GB, agent running", "MB", 1780, 1489},
	{"least memory with which the agent starts", "MiB", 192, 544},
}

// BenchmarkBudgets measures a machine that does what Tinkerbell's network-boot server tells it, until the
// real agent runs, and prints a table. Times are the medians of three boots, after one that is not counted:
// it brings QEMU, the kernel and the initrd into the host's memory.
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
		fmt.Fprintf(w, "%s\t%.4g %[3]s\t%.4[4]g %[3]s\t%.4[5]g %[3]s\n", line.what, measured[line.what], line.unit, line.budget, line.captainOS)
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
func toTinkerbell(b *testing.B) (*tinktest.Site, vm.Config) {
	b.Helper()
	l := startLab(b, lan("boot", "1"))
	nic := card(l, "boot", "01")
	site := tinktest.Start(b, l, tinktest.Options{
		Host:     netip.MustParseAddr("10.0.1.1"),
		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Say}}},
	})
	c := config(b)
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

func toAgent(b *testing.B, cpus int) times {
	b.Helper()
	_, c := toTinkerbell(b)
	c.CPUs, c.MemoryMiB = cpus, 2048
	c.Append += " ember.debug=shell"
	var t times
	start := time.Now()
	m := vmtest.Start(b, c)
	await(m, stage.Start)
	t.init = time.Since(start)
	m.Line(func(line string) bool { return strings.HasSuffix(line, "containerd: ready") })
	t.containerd = time.Since(start)
	await(m, stage.Agent)
	t.agent = time.Since(start)
	kib, err := strconv.ParseFloat(ask(b, m, "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"), 64)
	if err != nil {
		b.Fatal(err)
	}
	t.available = kib * 1024 / 1e6
	m.Close()
	return t
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
	c.MemoryMiB = mib
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
