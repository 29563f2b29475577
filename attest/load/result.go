package load

import (
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Result is what a run has come to.
type Result struct {
	Granted int
	Refused map[string]int // by what the server or the network said
	Time    time.Duration  // in which the server was asked
	CPU     time.Duration  // of the server, pauses included
	Memory  int64          // the most that the server had, in bytes
	// Generator is the processor's time of the machines in Time, software TPMs not included.
	Generator time.Duration

	// What the steps of those that were let in took, shortest first: to open the connection, to ask, and both.
	Opened, Asked, Both []time.Duration
}

// begin begins to measure. The server is asked until end is called.
func (r *Result) begin() (end func()) {
	start, used := time.Now(), processorTime()
	return func() {
		r.Time += time.Since(start)
		r.Generator += processorTime() - used
	}
}

// processorTime is what this process has used.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err) // the arguments are right
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (r *Result) add(v *visit) {
	if problem := v.outcome(); problem != "" {
		r.Refused[problem]++
		return
	}
	r.Granted++
	r.Opened = append(r.Opened, v.opened)
	r.Asked = append(r.Asked, v.asked)
	r.Both = append(r.Both, v.opened+v.asked)
}

func (r *Result) sort() {
	for _, times := range [][]time.Duration{r.Opened, r.Asked, r.Both} {
		slices.Sort(times)
	}
}

// Rate is how many machines a second were let in.
func (r *Result) Rate() float64 { return float64(r.Granted) / r.Time.Seconds() }

// CPUEach is what one machine has cost the server.
func (r *Result) CPUEach() time.Duration { return r.CPU / time.Duration(max(r.Granted, 1)) }

// RateOf is how many machines a second the server can let in that has so many processors for itself, if it keeps
// all of them busy.
func (r *Result) RateOf(processors int) float64 {
	return float64(processors) / max(r.CPUEach().Seconds(), 1e-9)
}

// Percentile is the time that so many percent of sorted times do not exceed (the nearest rank).
func Percentile(times []time.Duration, percent float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	rank := int(math.Ceil(percent * float64(len(times)) / 100))
	return times[min(max(rank, 1), len(times))-1]
}

// String is the result on one line.
func (r *Result) String() string {
	ms := func(times []time.Duration, percent float64) string {
		return fmt.Sprintf("%.1f", float64(Percentile(times, percent).Microseconds())/1000)
	}
	return fmt.Sprintf("%d let in, %d refused, %.0f/s; p50 %s, p90 %s, p99 %s, most %s ms; CPU of the server %.2f ms each (%.0f/s by two processors), of the machines %.2f ms; memory %.0f MB",
		r.Granted, r.refusals(), r.Rate(), ms(r.Both, 50), ms(r.Both, 90), ms(r.Both, 99), ms(r.Both, 100),
		float64(r.CPUEach().Microseconds())/1000, r.RateOf(2), r.Generator.Seconds()*1000/float64(max(r.Granted, 1)), float64(r.Memory)/1e6)
}

func (r *Result) refusals() (n int) {
	for _, count := range r.Refused {
		n += count
	}
	return n
}
