package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/logline"
)

// printNode prints all of a machine.
func printNode(w io.Writer, n view.Node, allEvents bool) error {
	b := bufio.NewWriter(w)
	row := func(name string, parts ...string) {
		if text := join(", ", parts...); text != "" {
			fmt.Fprintf(b, "%-10s%s\n", name, logline.Visible(text))
		}
	}
	row("node", n.Node)
	row("state", n.State)
	if n.Enrolment != "" {
		row("operator", string(n.Enrolment)+label(" by ", n.By)+label(" at ", stamp(n.Since)), n.Note)
	}
	row("machine", join(" ", n.Vendor, n.Model), label("serial ", n.Serial), label("host ", n.Hostname))
	if n.Proved {
		row("attested", stamp(n.Attested), label("tier ", string(n.Tier)))
	} else {
		row("attested", "never")
	}
	row("runs", label("image ", n.Image), label("boot ", n.Boot), label("overlay ", n.OverlayText()))
	if !n.Reported.IsZero() {
		row("health", n.Health, label("stage ", n.Stage), label("reported ", stamp(n.Reported)))
	}
	if n.Verdict != "" {
		row("verdict", verdict(n.Row), stamp(n.Time), label("from ", n.Address), label("policy ", n.Policy))
		row("", n.Reason)
		if !n.Opened {
			row("", "it is not proved that the machine itself has asked")
		}
	}
	if q := n.Waited; q != nil {
		row("waits", "since "+stamp(q.First), "last "+stamp(q.Last)+label(" from ", q.Address), label("its EK's certificate: ", q.Problem), label("signed by ", q.Issuer))
	}
	if e := n.Last(); e != nil && len(e.PCRs) > 0 {
		printEvidence(b, e, allEvents)
	}
	for _, boot := range n.Boots {
		printBoot(b, boot)
	}
	return b.Flush()
}

func printEvidence(w io.Writer, e *view.Evidence, allEvents bool) {
	fmt.Fprintf(w, "\nquote of %s%s\n", stamp(e.Time), label(", beside policy ", logline.Visible(e.Policy)))
	judged := make(map[int]bool)
	t := newColumns(w)
	fmt.Fprintln(t, "  PCR\tVALUE\tPOLICY")
	for _, p := range e.PCRs {
		judged[p.Index] = p.Judged()
		fmt.Fprintf(t, "%s %d\t%s\t%s\n", mark(p.Differs), p.Index, p.Value, judgement(p))
		for i, want := range p.Want {
			if p.Differs {
				fmt.Fprintf(t, "  \t%s\t%s\n", want, map[bool]string{true: "is wanted", false: "or this"}[i == 0])
			}
		}
	}
	t.Flush()
	fmt.Fprintln(w)
	t = newColumns(w)
	fmt.Fprintln(t, "  EVENT\tPCR\tTYPE\tDIGEST\tWHAT")
	hidden := 0
	for i, event := range e.Events {
		if !allEvents && !judged[event.PCR] && !event.Differs {
			hidden++
			continue
		}
		fmt.Fprintf(t, "%s %d\t%d\t%s\t%s\t%s\n", mark(event.Differs), i+1, event.PCR, event.Name, event.Digest, logline.Visible(event.Text))
	}
	for _, event := range e.Missing {
		fmt.Fprintf(t, "> -\t%d\tis required and missing\t%s\t%s\n", event.PCR, event.Digest, logline.Visible(event.Text))
	}
	t.Flush()
	switch {
	case len(e.Events) == 0:
		fmt.Fprintln(w, "  the machine has sent no event log, or one that is not right")
	case hidden > 0:
		fmt.Fprintf(w, "  and %d events that the policy says nothing of: --events\n", hidden)
	}
	if e.Omitted > 0 {
		fmt.Fprintf(w, "  and %d events that the server has not kept\n", e.Omitted)
	}
}

func judgement(p view.PCR) string {
	switch {
	case p.Differs && p.Events && !p.Explained:
		return "differs: the log does not explain it"
	case p.Differs && p.Events:
		return "differs in its events"
	case p.Differs:
		return "differs"
	case p.Events && len(p.Want) > 0:
		return "as wanted, with its events"
	case p.Events:
		return "as wanted, by its events"
	case len(p.Want) > 0:
		return "as wanted"
	}
	return ""
}

// printBoot prints the stages of a boot, with the time of each and how long it took to come to it.
func printBoot(w io.Writer, boot view.Boot) {
	fmt.Fprintf(w, "\nboot reported %s from %s%s%s\n", stamp(boot.Time), boot.Address, label(", ", logline.Visible(boot.Health)), label(": ", logline.Visible(boot.Why)))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	before := 0.0
	for _, s := range boot.Stages {
		fmt.Fprintf(t, "  %.3f s\t+%.3f\t  %s\n", s.T, s.T-before, logline.Visible(join(" ", s.Name, s.Fields)))
		before = s.T
	}
	t.Flush()
}

func mark(differs bool) string {
	if differs {
		return ">"
	}
	return " "
}

// label puts a word before what there is.
func label(word, text string) string {
	if text == "" {
		return ""
	}
	return word + text
}

// join joins what is not empty.
func join(separator string, parts ...string) string {
	var all []string
	for _, p := range parts {
		if p != "" {
			all = append(all, p)
		}
	}
	return strings.Join(all, separator)
}
