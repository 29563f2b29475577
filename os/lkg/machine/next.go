package machine

import "slices"

// order is what Done leads through.
var order = []Phase{Netboot, Attest, Fetch, Apply, Start, Healthy, Commit, Kept}

// Next gives what comes after an event. Without a transition, the phase is the same; an event that means nothing in
// a phase changes nothing.
func (m Machine) Next(e Event) (Machine, []Action) {
	if e == Stop {
		m.Phase, m.leaves = Leaving, ""
		return m, nil
	}
	switch m.Phase {
	case Netboot, Attest, Fetch:
		return m.early(e)
	case Apply, Start:
		switch {
		case e == Done:
			return m.enter(m.after())
		case e == Late && m.Phase == Start:
			return m.overdue()
		case e == Broken, e == Late, e == Denied, e == NoAnswer:
			return m.fail()
		case e == Answer && m.Kept && m.Phase == Start:
			return m.goBack()
		}
	case Healthy:
		return m.healthy(e)
	case Commit:
		switch e {
		case Done:
			return m.enter(Kept)
		case Broken, Denied, NoAnswer: // the node is healthy all the same, and what was kept before is as it was
			m, actions := m.enter(Kept)
			return m, append([]Action{{Verb: Report}}, actions...)
		}
	case Kept:
		switch {
		case e == Broken:
			return m, []Action{{Verb: Report}} // its services are restarted, as on any node
		case e == Answer && m.Kept:
			return m.goBack()
		}
	case Waiting:
		if e == Elapsed {
			m.Phase = Leaving
			return m, []Action{{Verb: m.leaves}}
		}
	case Leaving:
		if e == Broken && (m.leaves == Next || m.leaves == Kexec) {
			return m.unreachable()
		}
	}
	return m, nil
}

// early has the phases before anything is in the root.
func (m Machine) early(e Event) (Machine, []Action) {
	kept := m.Phase == Fetch && m.Kept
	switch {
	case e == Done:
		return m.enter(m.after())
	case e == Denied, e == Broken && m.Phase != Netboot, kept && (e == Late || e == NoAnswer):
		return m.fail()
	case e == NoAnswer, e == Late, e == Broken:
		return m.unreachable()
	}
	return m, nil
}

// unreachable is what to do without a server.
func (m Machine) unreachable() (Machine, []Action) {
	switch means := &m.boot.Means; {
	case means.Next: // each only once
		means.Next = false
		return m.leave(Next)
	case means.Kexec:
		means.Kexec = false
		return m.leave(Kexec)
	case m.boot.From == Disk:
		m.Kept = true
		return m.enter(Fetch)
	}
	// There is nothing else to boot: this boot is as good as any, for a while.
	if m.Phase == Leaving {
		m.Phase = Netboot
	} else if m.asked += m.limit(); m.asked >= m.boot.Limits.Ask {
		return m.fail()
	}
	m, actions := m.enter(m.Phase)
	return m, append([]Action{{Verb: Report}}, actions...)
}

func (m Machine) healthy(e Event) (Machine, []Action) {
	switch {
	case e == Elapsed:
		return m.enter(Commit)
	case e == Late:
		m.late = true
	case e == Broken && m.late:
		return m.overdue()
	case e == Broken: // the limit of Start goes on
		m.Phase = Start
		return m, []Action{{Verb: Begin}}
	}
	return m, nil
}

// overdue is what to do with a node that is not healthy in time.
func (m Machine) overdue() (Machine, []Action) {
	if !m.Kept {
		return m.fail()
	}
	m.Phase, m.late = Start, true
	m, probe := m.probe()
	return m, append([]Action{{Verb: Begin}, {Verb: Report}}, probe...)
}

func (m Machine) probe() (Machine, []Action) {
	if m.probes {
		return m, nil
	}
	m.probes = true
	return m, []Action{{Verb: Probe, Limit: m.boot.Limits.Probe}}
}

// fail waits, and reboots into the network.
func (m Machine) fail() (Machine, []Action) { return m.wait(Reboot) }

// goBack does so as well: a rack must not come at once, and not in circles.
func (m Machine) goBack() (Machine, []Action) { return m.wait(Return) }

func (m Machine) wait(leaves Verb) (Machine, []Action) {
	m.Phase, m.leaves = Waiting, leaves
	return m, []Action{{Verb: Wait, Limit: m.backoff()}}
}

func (m Machine) leave(v Verb) (Machine, []Action) {
	m.Phase, m.leaves = Leaving, v
	return m, []Action{{Verb: v}}
}

func (m Machine) after() Phase { return order[slices.Index(order, m.Phase)+1] }

func (m Machine) enter(p Phase) (Machine, []Action) {
	m.Phase = p
	switch {
	case p == Healthy:
		return m, []Action{{Verb: Wait, Limit: m.boot.Limits.Hold}}
	case p == Kept && m.Kept:
		return m.probe()
	case p == Kept:
		return m, nil
	}
	return m, []Action{{Verb: Begin, Kept: p == Fetch && m.Kept, Limit: m.limit()}}
}
