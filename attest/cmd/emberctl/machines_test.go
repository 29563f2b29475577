package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/store"
)

func TestMachines(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	golden(t, "queue.golden", d.ok(t, "queue"))
	golden(t, "queue.json", d.ok(t, "queue", "--json"))
	golden(t, "nodes.golden", d.ok(t, "nodes"))
	golden(t, "nodes-wide.golden", d.ok(t, "nodes", "--wide"))
	golden(t, "nodes.json", d.ok(t, "nodes", "--json"))
	golden(t, "node-good.golden", d.ok(t, "node", good[:8], "--events"))
	golden(t, "node-changed.golden", d.ok(t, "node", changed))
	golden(t, "node-changed.json", d.ok(t, "node", changed, "--json"))
	golden(t, "node-waiting.golden", d.ok(t, "node", "c3c3"))
	golden(t, "node-revoked.golden", d.ok(t, "node", "d4d4"))
}

func TestFilters(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	for args, want := range map[string][]string{
		"":                                  {good, changed, stranger, stolen},
		"--state waiting":                   {stranger},
		"--state refused":                   {changed},
		"--state attested":                  {good},
		"--tier attested":                   {good, changed, stolen},
		"--verdict ok":                      {good},
		"--verdict ek-revoked":              {stolen},
		"--verdict policy-pcr":              {changed},
		"--boot network --state revoked":    {stolen},
		"--overlay rack":                    {good, changed},
		"--overlay rack:7 --health healthy": {good},
		"--overlay rack:6":                  nil,
		"--image 0.2.0 --search NODE-B2":    {changed},
		"--search STOLEN":                   {stolen},
		"--limit 2":                         {good, changed},
		"--limit 2 --all":                   {good, changed, stranger, stolen},
		"--limit 2 --after " + changed:      {stranger, stolen},
		"--limit 1 --all --tier attested":   {good, changed, stolen},
	} {
		var page admin.Nodes
		if err := json.Unmarshal([]byte(d.ok(t, append([]string{"nodes", "--json"}, strings.Fields(args)...)...)), &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range page.Nodes {
			got = append(got, r.Node)
		}
		more := strings.Contains(args, "--limit 2") && !strings.Contains(args, "--all") && !strings.Contains(args, "--after")
		if !slices.Equal(got, want) || (page.Next != "") != more {
			t.Errorf("%q: %.2s, next %.2s", args, got, page.Next)
		}
	}
	if _, _, errs := d.run("nodes", "--limit", "2"); errs != "There are more: --all, or --after "+changed+"\n" {
		t.Errorf("of more pages it says %q", errs)
	}
	d.no(t, wrongCall, "--state is one of refused,", "nodes", "--state", "lost")
	d.no(t, wrongCall, "from 1 to 500", "nodes", "--limit", "0")
}

func TestOrders(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	fresh := strings.Repeat("e5", 32)
	if err := os.WriteFile("delivery", []byte(fresh+" first\n"+good+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.no(t, wrongCall, "is not the name of a machine", "approve", stranger[:12])
	d.no(t, notFound, "not in the queue", "approve", fresh)
	d.no(t, notFound, "not in the queue", "dismiss", fresh)
	d.no(t, wrongCall, "nor a file", "enroll", "none")
	d.no(t, refused, "enrolled already", "enroll", good)
	d.no(t, refused, "emberctl forget lets it be enrolled again", "enroll", stolen)
	d.no(t, refused, "with --yes it is done", "revoke", good)
	d.no(t, notFound, "begins with ffff", "revoke", "ffff", "--yes")
	d.no(t, wrongCall, "or its first 4", "node", "a1")
	d.no(t, wrongCall, "or its first 4", "node", "../a1a1")
	d.no(t, notFound, "nothing to forget", "forget", changed, "--yes")
	if got, want := d.ok(t, "enroll", "delivery", "--note", "May"), good+" was enrolled already\nenrolled "+fresh+"\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	for _, step := range []struct{ args, says string }{
		{"approve " + stranger + " --note desk", "approved " + stranger + "\n"},
		{"revoke a1a1 --yes --note gone", "revoked " + good + "\n"},
		{"revoke " + strings.Repeat("f6", 32) + " -y", "revoked " + strings.Repeat("f6", 32) + "\n"},
		{"forget d4d4 -y", "forgot " + stolen + "\n"},
	} {
		if got := d.ok(t, strings.Fields(step.args)...); got != step.says {
			t.Errorf("%s: it says %q", step.args, got)
		}
	}
	for node, want := range map[string]store.State{good: store.Revoked, stranger: store.Enrolled, fresh: store.Enrolled} {
		if m, err := d.registry.Machine(t.Context(), node); err != nil || m.State != want || m.By != "ann" {
			t.Errorf("%.4s: %+v, %v", node, m, err)
		}
	}
	d.audit(t,
		"ann enroll e5e5e5e5 0 <nil>", "ann enroll a1a1a1a1 0 the machine is enrolled already", "ann approve c3c3c3c3 0 <nil>",
		"ann revoke a1a1a1a1 0 <nil>", "ann forget d4d4d4d4 0 <nil>",
	)
	twin := good[:63] + "0"
	if err := d.registry.Enroll(t.Context(), twin, "", "bob"); err != nil {
		t.Fatal(err)
	}
	d.no(t, wrongCall, "several machines", "node", good[:9])
}

func TestOrdersJSON(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	fresh, passing := strings.Repeat("e5", 32), strings.Repeat("c4", 32)
	if _, err := d.registry.Enqueue(t.Context(), store.Waiting{Node: passing}, 9); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("delivery", []byte(fresh+"\n"+good+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, order := range []struct {
		args string
		want []outcome
	}{
		{"enroll delivery", []outcome{{good, "enroll", false}, {fresh, "enroll", true}}},
		{"approve " + stranger, []outcome{{stranger, "approve", true}}},
		{"dismiss " + passing, []outcome{{passing, "dismiss", true}}},
		{"revoke a1a1 -y", []outcome{{good, "revoke", true}}},
		{"forget d4d4 -y", []outcome{{stolen, "forget", true}}},
	} {
		dec := json.NewDecoder(strings.NewReader(d.ok(t, append(strings.Fields(order.args), "--json")...)))
		dec.DisallowUnknownFields()
		var got []outcome
		for dec.More() {
			var o outcome
			if err := dec.Decode(&o); err != nil {
				t.Fatal(err)
			}
			got = append(got, o)
		}
		if !slices.Equal(got, order.want) {
			t.Errorf("%s: %v", order.args, got)
		}
	}
}
