package main

import (
	"crypto/sha256"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
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

// A build tells which event of a PCR is another one, though a policy with it has only the PCR's value.
func TestPolicyCheckMeasurements(t *testing.T) {
	d := sit(t)
	line, other, initrd := sum(0x91), sum(0x99), sum(0x92)
	value := func(line []byte) []byte {
		first := sha256.Sum256(slices.Concat(make([]byte, sha256.Size), line))
		second := sha256.Sum256(slices.Concat(first[:], initrd))
		return second[:]
	}
	way := policy.Path{
		Name: "ipxe", PCRs: map[int]policy.Digests{9: {policy.Digest(value(line))}},
		Events: map[int]policy.Events{4: {Require: policy.Digests{policy.Digest(sum(0x41))}}},
		Log: []policy.Measured{
			{PCR: 4, Digest: policy.Digest(sum(0x41)), What: "the kernel"},
			{PCR: 9, Digest: policy.Digest(line), What: "the command line"}, {PCR: 9, Digest: policy.Digest(initrd), What: "the initrd"},
		},
	}
	build, err := (&policy.Build{Format: policy.BuildFormat, Version: "0.2.0", Paths: []policy.Path{way}}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	// What the server keeps of such a machine, which is another kernel's too.
	e := store.Evidence{
		Time: start, Policy: "rack/0.2.0/ipxe",
		PCRs: []store.PCR{
			{Index: 4, Value: sum(0x24), Events: true, Explained: true, Differs: true},
			{Index: 9, Value: value(other), Want: [][]byte{value(line)}, Explained: true, Differs: true},
		},
		Events: []store.Event{
			{PCR: 4, Type: 0x80000003, Digest: sum(0x49)}, {PCR: 9, Type: 6, Digest: other, Text: "LOADED_IMAGE::LoadOptions", Differs: true},
			{PCR: 9, Type: 6, Digest: initrd, Text: "Linux initrd"},
		},
		Missing: []store.Event{{PCR: 4, Digest: sum(0x41), Text: "the kernel"}, {PCR: 9, Digest: line, Text: "the command line"}},
	}
	v := store.Verdict{Node: changed, Time: start, Address: "192.0.2.9", Code: policy.CodePCR, Policy: e.Policy, Tier: protocol.Attested, Differs: []int{4, 9}}
	if err := errors.Join(
		d.registry.Refuse(t.Context(), v, e, false),
		os.WriteFile("0.2.0.json", build, 0o644),
		os.WriteFile("policies.yaml", []byte("[{name: rack, tiers: [attested], measurements: {files: [0.2.0.json], paths: [ipxe]}}]"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	golden(t, "node-cmdline.golden", d.ok(t, "node", changed))
	status, text, _ := d.run("policy", "check", "policies.yaml", "--node", changed)
	if golden(t, "policy-check-cmdline.golden", text); status != negative {
		t.Errorf("status %d", status)
	}
	_, text, _ = d.run("policy", "check", "policies.yaml", "--node", changed, "--json")
	golden(t, "policy-check-cmdline.json", text)
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
