package os_test

import (
	"context"
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// BenchmarkBoot measures the wall time from QEMU's start to init's first line and to the end of
// bring-up, under emulation.
func BenchmarkBoot(b *testing.B) {
	var first, ready time.Duration
	for b.Loop() {
		c := config(b)
		c.CPUs = 2
		start := time.Now()
		m := vmtest.Start(b, c)
		await(m, stage.Start)
		first += time.Since(start)
		await(m, stage.Ready)
		ready += time.Since(start)
		m.Close()
	}
	b.ReportMetric(first.Seconds()/float64(b.N), "s-to-init")
	b.ReportMetric(ready.Seconds()/float64(b.N), "s-to-ready")
}

// BenchmarkNetwork measures the time from init's first line to the stage "network", where a DHCP
// server answers at once on one of three cards, by the machine's own clock.
func BenchmarkNetwork(b *testing.B) {
	l := startLab(b, silent("dead", "8"), lan("boot", "1"))
	cards := []vm.NIC{l.Port("dead"), l.Port("boot"), l.Port("dead")}
	var total time.Duration
	for b.Loop() {
		c := config(b)
		c.CPUs, c.NICs = 2, cards
		m := vmtest.Start(b, c)
		total -= await(m, stage.Start).T
		total += await(m, stage.Network).T
		m.Close()
	}
	each := total.Seconds() / float64(b.N)
	b.ReportMetric(each, "s-to-network")
	if each > 2 {
		b.Error("more than 2 s")
	}
}

// BenchmarkNoNetwork measures the wall time from QEMU's start until a shell on the console answers, where no network does.
func BenchmarkNoNetwork(b *testing.B) {
	l := startLab(b, silent("dead", "8"))
	card := l.Port("dead")
	var total time.Duration
	for b.Loop() {
		c := config(b)
		c.CPUs, c.NICs, c.Append = 2, []vm.NIC{card}, "ember.debug=shell"
		start := time.Now()
		m := vmtest.Start(b, c)
		await(m, stage.Debug)
		if got := ask(b, m, "echo $((6 * 7))"); got != "42" {
			b.Fatalf("the shell says %q", got)
		}
		total += time.Since(start)
		m.Close()
	}
	each := total.Seconds() / float64(b.N)
	b.ReportMetric(each, "s-to-shell")
	if each > 10 {
		b.Error("more than 10 s")
	}
}

// BenchmarkMemoryFloor finds the least memory with which the system comes up, in MiB.
func BenchmarkMemoryFloor(b *testing.B) {
	floor := 0
	for b.Loop() {
		low, high := 16, 512 // too little, enough
		for high-low > 4 {
			if middle := (low + high) / 2; comesUp(b, middle) {
				high = middle
			} else {
				low = middle
			}
		}
		floor = high
	}
	b.ReportMetric(float64(floor), "MiB")
}

// comesUp tells whether a machine with this much memory ends its bring-up. One with too little
// fails, reboots, or hangs before it has a console.
func comesUp(b *testing.B, mib int) bool {
	c := config(b)
	c.CPUs, c.MemoryMiB, c.Append = 2, mib, "panic=-1"
	m := vmtest.Start(b, c)
	defer m.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	end := ""
	_, err := m.WaitLine(ctx, func(line string) bool {
		l, _ := stage.Parse(line)
		end = l.Name
		return end == stage.Ready || end == stage.Failed
	})
	return err == nil && end == stage.Ready
}
