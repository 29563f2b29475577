package main

import (
	"os"
	"testing"
)

func TestPolicyCheck(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	if err := os.WriteFile("policies.yaml", []byte(policies), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := d.ok(t, "policy", "check", "policies.yaml"), "policies.yaml: 3 policies, nothing wrong\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	golden(t, "policy-check-good.golden", d.ok(t, "policy", "check", "policies.yaml", "--node", "a1a1"))
	// What was printed is evidence too, without a server.
	for node, name := range map[string]string{good: "good", changed: "changed"} {
		if err := os.WriteFile(name+".json", []byte(d.ok(t, "node", node, "--json")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(serverVariable, "https://none.invalid")
	golden(t, "policy-check-good.golden", d.ok(t, "policy", "check", "policies.yaml", "--evidence", "good.json"))
	status, text, errs := d.run("policy", "check", "policies.yaml", "--evidence", "changed.json")
	if golden(t, "policy-check-changed.golden", text); status != negative || errs != "emberctl: no policy lets this machine in\n" {
		t.Errorf("status %d, %q", status, errs)
	}
	status, text, _ = d.run("policy", "check", "policies.yaml", "--evidence", "changed.json", "--json")
	if golden(t, "policy-check-changed.json", text); status != negative {
		t.Errorf("status %d", status)
	}
	b, err := os.ReadFile("changed.json")
	if err != nil {
		t.Fatal(err)
	}
	if status, _, errs := d.runWith(string(b), "policy", "check", "policies.yaml", "--evidence", "-", "--tier", "none"); status != done {
		t.Errorf("as of tier none, which lab is for: %d, %s", status, errs)
	}
}

func TestPolicyCheckRefuses(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	write := func(name, text string) {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong.yaml", "policies: [{name: p, tier: [none]}]")
	write("policies.yaml", policies)
	write("attestd.yaml", "listen: :1\npolicies: [{name: p, tiers: [none]}]\n")
	write("text", "text")
	write("odd.json", `{"node": "x", "proof": {"pcrs": [{"index": 7, "value": "12"}]}}`)
	d.no(t, failed, "tier", "policy", "check", "wrong.yaml")
	d.no(t, failed, "no such file", "policy", "check", "none.yaml")
	d.ok(t, "policy", "check", "attestd.yaml")
	d.no(t, failed, "emberctl node --json prints", "policy", "check", "policies.yaml", "--evidence", "text")
	d.no(t, failed, "PCR 7 is not a SHA-256", "policy", "check", "policies.yaml", "--evidence", "odd.json")
	d.no(t, failed, "no evidence of the machine", "policy", "check", "policies.yaml", "--node", "c3c3")
	d.no(t, wrongCall, "is enough", "policy", "check", "policies.yaml", "--node", "c3c3", "--evidence", "-")
	d.no(t, wrongCall, "no tier", "policy", "check", "policies.yaml", "--node", "c3c3", "--tier", "high")
}
