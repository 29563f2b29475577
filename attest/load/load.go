// Package load measures an attestation server: it is thousands of machines at once.
//
// Machines have real keys and quotes. A TPM that is given a new endorsement seed is another TPM, so one software
// TPM makes all of them, with a certificate each by an authority for tests that the server must be told to
// trust; their attestation keys are kept outside of it and loaded for each quote.
//
// A quote is bound to its connection, or to the server's nonce, and so it is made in the middle of an
// attestation. A software TPM would have the processors that the server needs, and a real one is a machine's
// own. So, where the server is to do as much as it can, machines attest in groups: while the connections of one
// group are opened, up to the server's challenge if it gives one, the group before asks; that is measured. Then
// the next group's quotes are made, and the server has nothing to do; that is not.
//
// At a rate there are no groups and no pauses: each machine comes when it is due, whatever has become of those
// before, has its quote made and asks. What the TPM takes is left out of its times, but not the processors that
// the software TPMs take from the server meanwhile.
//
// What the server does for a machine is all measured: TCP, TLS, the challenge, verification, what it remembers,
// the answer. Not measured are networks, and that answers are opened: for that the endorsement key is gone.
// Where the generator runs beside the server, its own share of TLS is in the times, and it takes processors that
// the server could use: [Result.Generator] says how much, and [Result.CPUEach] is of the server alone.
package load

import (
	"context"
	"crypto/tls"
	"errors"
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
	// Workers is how many steps of a group are taken at once.
	Workers int
	// Rate is how many machines come a second; 0 for as many as the server can take, in groups.
	Rate float64
	// Meter is asked before and after; optional.
	Meter func() Usage
}

// Usage is what the server has used so far.
type Usage struct {
	CPU    time.Duration
	Memory int64 // the most at a time, in bytes
}

// Run has each machine attest once. An error is the generator's own; those of the server are in the result.
func Run(ctx context.Context, machines []*Machine, c Config) (*Result, error) {
	if c.Meter == nil {
		c.Meter = func() Usage { return Usage{} }
	}
	result := &Result{Refused: make(map[string]int)}
	run := c.groups
	if c.Rate > 0 {
		run = c.pace
	}
	used := c.Meter()
	if err := run(ctx, machines, result); err != nil {
		return nil, err
	}
	now := c.Meter()
	result.CPU, result.Memory = now.CPU-used.CPU, now.Memory
	result.sort()
	return result, nil
}

// groups measures machines that come as fast as they can.
func (c Config) groups(ctx context.Context, machines []*Machine, result *Result) error {
	var before []*visit // the group that asks
	for len(machines) > 0 || len(before) > 0 {
		group := newVisits(machines[:min(c.Group, len(machines))], c)
		machines = machines[len(group):]
		end := result.begin()
		err := c.measure(ctx, interleave(before, group))
		end()
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
			return err
		}
		before = group
	}
	return nil
}

// pace measures machines that come at a rate. A machine's time begins when it is due, whether or not there was a
// processor for it then.
func (c Config) pace(ctx context.Context, machines []*Machine, result *Result) error {
	visits := newVisits(machines, c)
	defer result.begin()()
	var all sync.WaitGroup
	var mu sync.Mutex // of result and failed
	var failed error
	start := time.Now()
	for i, v := range visits {
		due := start.Add(time.Duration(float64(i) * float64(time.Second) / c.Rate))
		select {
		case <-time.After(time.Until(due)):
		case <-ctx.Done():
			all.Wait()
			return ctx.Err()
		}
		all.Go(func() {
			defer v.close()
			v.open(ctx, due)
			err := v.prepare()
			if err == nil {
				v.ask(ctx, time.Now())
			}
			mu.Lock()
			defer mu.Unlock()
			result.add(v)
			failed = errors.Join(failed, err)
		})
	}
	all.Wait()
	return failed
}

// task is a step of a visit.
type task func(context.Context, time.Time)

// interleave has one group ask while the next one opens.
func interleave(asking, opening []*visit) []task {
	var tasks []task
	for i := range max(len(asking), len(opening)) {
		if i < len(opening) {
			tasks = append(tasks, opening[i].open)
		}
		if i < len(asking) {
			tasks = append(tasks, asking[i].ask)
		}
	}
	return tasks
}

// measure does all tasks, each as soon as a worker is free.
func (c Config) measure(ctx context.Context, tasks []task) error {
	var all sync.WaitGroup
	defer all.Wait()
	next := make(chan task)
	defer close(next)
	for range c.Workers {
		all.Go(func() {
			for do := range next {
				do(ctx, time.Now())
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
