package policy

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

var (
	node  = strings.Repeat("ab", 32)
	other = strings.Repeat("cd", 32)
)

// hex of a digest whose bytes are all b.
func hexOf(b string) string { return strings.Repeat(b, 32) }

func of(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func evidence() *verify.Evidence {
	return &verify.Evidence{
		Node: node,
		Tier: protocol.Attested,
		PCRs: map[int][]byte{4: of(4), 7: of(7)},
		Events: []verify.Event{
			{PCR: 4, Digest: of(0x41)}, {PCR: 4, Digest: of(0x42)}, {PCR: 7, Digest: of(0x71)},
		},
		Explained: map[int]bool{4: true, 5: true, 7: true},
	}
}

func parse(t *testing.T, text string) *Set {
	t.Helper()
	s, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConditions(t *testing.T) {
	for _, test := range []struct {
		name, conditions, code string
	}{
		{"none", "", ""},
		{"node", "nodes: [" + node + "]", ""},
		{"other node", "nodes: [" + other + "]", CodeNode},
		{"PCR", "pcrs: {7: " + hexOf("07") + "}", ""},
		{"one of several values", "pcrs: {7: [" + hexOf("08") + ", " + hexOf("07") + "], 4: " + hexOf("04") + "}", ""},
		{"another value", "pcrs: {7: " + hexOf("07") + ", 4: " + hexOf("07") + "}", CodePCR},
		{"PCR without a value", "pcrs: {9: " + hexOf("00") + "}", CodePCR},
		{"required event", "events: {4: {require: " + hexOf("41") + "}}", ""},
		{"required events", "events: {4: {require: [" + hexOf("41") + ", " + hexOf("42") + "]}}", ""},
		{"event is missing", "events: {4: {require: [" + hexOf("41") + ", " + hexOf("43") + "]}}", CodeEvent},
		{"event is another PCR's", "events: {4: {require: " + hexOf("71") + "}}", CodeEvent},
		{"only these", "events: {4: {only: [" + hexOf("41") + ", " + hexOf("42") + ", " + hexOf("43") + "]}}", ""},
		{"another event", "events: {4: {only: " + hexOf("41") + "}}", CodeEvent},
		{"no event, only these", "events: {5: {only: " + hexOf("41") + "}}", ""},
		{"no event, required", "events: {5: {require: " + hexOf("41") + "}}", CodeEvent},
		{"PCR is not explained", "events: {8: {only: " + hexOf("41") + "}}", CodeEvent},
		{"required and only", "events: {4: {require: " + hexOf("42") + ", only: [" + hexOf("41") + ", " + hexOf("42") + "]}}", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := parse(t, "- name: p\n  tiers: [attested]\n  overlay: o\n  version: 3\n  "+test.conditions+"\n")
			d := s.Decide(evidence())
			if d.Allow != (test.code == "") {
				t.Fatalf("decision %+v", d)
			}
			if d.Allow {
				if d.Policy != "p" || d.Tier != protocol.Attested || d.Overlay != "o" || d.Version != 3 || len(d.Reasons) != 0 {
					t.Errorf("decision %+v", d)
				}
			} else if d.Code() != test.code || len(d.Reasons) != 1 || d.Policy != "" || d.Overlay != "" {
				t.Errorf("decision %+v with code %s, want %s", d, d.Code(), test.code)
			}
		})
	}
}

func TestTiers(t *testing.T) {
	s := parse(t, "- {name: p, tiers: [attested, enrolled]}")
	for tier, allow := range map[protocol.Tier]bool{protocol.Attested: true, protocol.Enrolled: true, protocol.None: false, "": false} {
		e := evidence()
		e.Tier = tier
		if d := s.Decide(e); d.Allow != allow || d.Tier != tier || !allow && d.Code() != CodeTier {
			t.Errorf("tier %q: %+v", tier, d)
		}
		if tier != "" && s.Takes(tier) != allow {
			t.Errorf("Takes(%q) is %v", tier, !allow)
		}
	}
}

// The first policy that holds applies, and a refusal's code is of the one that nearly did.
func TestOrder(t *testing.T) {
	const text = `
- name: lab
  tiers: [none]
- name: listed
  tiers: [attested]
  pcrs: {7: 0808080808080808080808080808080808080808080808080808080808080808}
  overlay: b
- name: few
  tiers: [attested]
  nodes: [cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd]
`
	s := parse(t, text)
	d := s.Decide(evidence())
	if d.Allow || d.Code() != CodePCR || len(d.Reasons) != 3 || d.Reasons[1].String() != "listed: PCR 7 is "+hexOf("07") {
		t.Errorf("refused as %s: %v", d.Code(), d.Reasons)
	}
	d = parse(t, text+"- {name: rest, tiers: [attested], overlay: a}\n- {name: last, tiers: [attested]}").Decide(evidence())
	if !d.Allow || d.Policy != "rest" || len(d.Reasons) != 3 {
		t.Errorf("decision %+v", d)
	}
	if got := parse(t, text+"- {name: rest, tiers: [attested], overlay: a}").Overlays(); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("overlays %q", got)
	}
	if d := parse(t, "[]").Decide(evidence()); d.Allow || d.Code() != CodeNone {
		t.Errorf("without policies: %+v", d)
	}
}

func TestParseErrors(t *testing.T) {
	const start = "- name: p\n  tiers: [attested]\n  "
	for _, test := range []struct{ text, want string }{
		{"", "it is empty"},
		{"- tiers: [attested]", "policy 1 has no name"},
		{"- name: p", `policy "p": tiers is missing: one or more of [attested enrolled none]`},
		{"- {name: p, tiers: [trusted]}", `there is no tier "trusted"`},
		{"- {name: p, tiers: [none]}\n- {name: p, tiers: [none]}", `two policies are called "p"`},
		{"- {name: p, tiers: [none]}\n---\n[]", "more than one document"},
		{start + "pcr: {7: " + hexOf("07") + "}", "pcr"},
		{start + "pcrs: {16: " + hexOf("07") + "}", "PCR 16 is not quoted"},
		{start + "pcrs: {7: 12}", "line 3: not a SHA-256"},
		{start + "pcrs: {7: []}", "line 3: the list is empty"},
		{start + "pcrs: {7: [[" + hexOf("07") + "]]}", "line 3: not a SHA-256"},
		{start + "pcrs: {7: }", "line 3: a value is missing"},
		{start + "pcrs:", "line 3: a value is missing"},
		{start + "nodes: [" + strings.Repeat("AB", 32) + "]", "not 64 digits"},
		{start + "events: {4: {}}", "PCR 4 has neither require nor only"},
		{start + "events: {4: {only: ~}}", "a value is missing"},
		{start + "events: {-1: {only: " + hexOf("07") + "}}", "PCR -1 is not quoted"},
		{start + "events: {4: {require: " + hexOf("07") + ", only: " + hexOf("08") + "}}", "which is not under only"},
		{start + "version: 3", "there is no overlay"},
		{start + "tiers: [none]", "tiers"},
		{start + "overlay: &a x\n- {name: *a, tiers: [none]}", "line 4: there are no aliases here"},
		{strings.Repeat("[", 40) + strings.Repeat("]", 40), "nested too deeply"},
	} {
		if _, err := Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.text, err, test.want)
		}
	}
}

// What is parsed decides, and a policy with a condition never takes a machine without evidence.
func FuzzParse(f *testing.F) {
	f.Add([]byte("- name: p\n  tiers: [attested, none]\n  nodes: [" + node + "]\n  pcrs: {7: " + hexOf("07") + "}\n  events: {4: {require: " + hexOf("41") + "}}\n  overlay: o\n  version: 1\n"))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		for _, tier := range tiers {
			d := s.Decide(&verify.Evidence{Tier: tier})
			if !d.Allow {
				continue
			}
			i := slices.IndexFunc(s.policies, func(p Policy) bool { return p.Name == d.Policy })
			if p := s.policies[i]; len(p.Nodes) > 0 || len(p.PCRs) > 0 || len(p.Events) > 0 {
				t.Errorf("%v takes a machine of which nothing is known", slices.Sorted(maps.Keys(p.PCRs)))
			}
		}
	})
}
