// Package load measures an attestation server: it is thousands of machines at once.
//
// Machines have real keys and quotes. A TPM that is given a new endorsement seed is another TPM, so one software
// TPM makes all of them, with a certificate each by an authority for tests that the server must be told to
// trust; their attestation keys are kept outside of it and loaded for each quote.
//
// A quote is bound to its connection, or to the server's nonce, and so it is made in the middle of an
// attestation. A software TPM would have the processors that the server needs, and a real one is a machine's
// own. So machines attest in groups: while the connections of one group are opened, up to the server's
// challenge if it gives one, the group before asks; that is measured. Then the next group's quotes are made,
// and the server has nothing to do; that is not. What the server does for a machine is all measured: TCP, TLS,
// the challenge, verification, what it remembers, the answer.
//
// Not measured are networks, the TPMs, and that answers are opened: for that the endorsement key is gone.
// Where the generator runs beside the server, its own share of TLS is in the times.
package load

import (
	"context"
	"crypto/tls"
	"sync"
	"time"
)

// Config is how a server is asked. Fields are required unless they say something else.
type Config struct {
	Address string      // HOST:PORT
	TLS     *tls.Config // which trusts the server
	// Challenge says that the server gives nonces (binding: challenge).
	Challenge bool
	// Group is how many machines open their connections before they ask. The server must allow twice as many
	// connections.
	Group int
	// Rate is how many machines open a connection a second, and how many ask a second; with 0 they do so as
	// soon as one of the Workers is free.
	Rate    float64
	Workers int
	// Meter is asked before and after each group; optional.
	Meter func() Usage
}

// Usage is what the server has used so far.
type Usage struct {
	CPU    time.Duration
	Memory int64 // now, in bytes
}

// Run has each machine attest once. An error is the generator's own; those of the server are in the result.
func Run(ctx context.Context, machines []*Machine, c Config) (*Result, error) {
	if c.Meter == nil {
		c.Meter = func() Usage { return Usage{} }
	}
	result := &Result{Refused: make(map[string]int)}
	var before []*visit // the group that asks
	for len(machines) > 0 || len(before) > 0 {
		group := newVisits(machines[:min(c.Group, len(machines))], c)
		machines = machines[len(group):]
		used, start := c.Meter(), time.Now()
		err := c.measure(ctx, interleave(before, group))
		result.Time += time.Since(start)
		now := c.Meter()
		result.CPU += now.CPU - used.CPU
		result.Memory = max(result.Memory, now.Memory)
		for _, v := range before {
			v.close()
			result.add(v)
		}
		if err == nil {
			err = quote(group)
		}
		if err != nil {
			for _, v := range group {
				v.close()
			}
			return nil, err
		}
		before = group
	}
	result.sort()
	return result, nil
}

// task is a step of a visit.
type task struct {
	slot int // of those of equal distance in time
	do   func(context.Context, time.Time)
}

// interleave has one group ask while the next one opens.
func interleave(asking, opening []*visit) []task {
	var tasks []task
	for i := range max(len(asking), len(opening)) {
		if i < len(opening) {
			tasks = append(tasks, task{2 * i, opening[i].open})
		}
		if i < len(asking) {
			tasks = append(tasks, task{2*i + 1, asking[i].ask})
		}
	}
	return tasks
}

// measure does all tasks. At a rate each is due at its time, and its own time begins then, whether the
// processor was free or not.
func (c Config) measure(ctx context.Context, tasks []task) error {
	var all sync.WaitGroup
	defer all.Wait()
	if c.Rate > 0 {
		start, slot := time.Now(), time.Duration(float64(time.Second)/c.Rate/2)
		for _, t := range tasks {
			due := start.Add(time.Duration(t.slot) * slot)
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return ctx.Err()
			}
			all.Go(func() { t.do(ctx, due) })
		}
		return nil
	}
	next := make(chan task)
	defer close(next)
	for range c.Workers {
		all.Go(func() {
			for t := range next {
				t.do(ctx, time.Now())
			}
		})
	}
	for _, t := range tasks {
		select {
		case next <- t:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// quote has the TPMs quote for a group, each of them on its own.
func quote(group []*visit) error {
	byMaker := make(map[*Maker][]*visit)
	for _, v := range group {
		byMaker[v.machine.maker] = append(byMaker[v.machine.maker], v)
	}
	failed := make(chan error, len(byMaker))
	for _, visits := range byMaker {
		go func() {
			for _, v := range visits {
				if err := v.prepare(); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	var err error
	for range byMaker {
		if e := <-failed; e != nil {
			err = e
		}
	}
	return err
}
