package policy

import (
	"slices"
	"testing"
)

func TestExplain(t *testing.T) {
	s := parse(t, `
- {name: lab, tiers: [none]}
- name: strict
  tiers: [attested]
  pcrs: {7: `+hexOf("08")+`}
  events: {4: {require: `+hexOf("43")+`}}
- {name: rest, tiers: [attested], overlay: o, version: 3}
- {name: last, tiers: [attested]}
`)
	all := s.Explain(evidence())
	var names []string
	for _, x := range all {
		names = append(names, x.Policy)
	}
	if !slices.Equal(names, s.Names()) || len(all) != 4 {
		t.Fatalf("policies %q", names)
	}
	if x := all[0]; x.Applies || x.Holds || x.Reason.Code != CodeTier {
		t.Errorf("lab: %+v", x)
	}
	// More than the first reason is told.
	if x := all[1]; x.Holds || x.Reason.Code != CodePCR || !slices.Equal(x.Comparison.Differing(), []int{4, 7}) || len(x.Comparison.PCRs[4].Missing) != 1 {
		t.Errorf("strict: %+v", x)
	}
	if x := all[2]; !x.Applies || !x.Holds || x.Overlay != "o" || x.Version != 3 || x.Reason != (Reason{}) {
		t.Errorf("rest: %+v", x)
	}
	if x := all[3]; x.Applies || !x.Holds {
		t.Errorf("last: %+v", x)
	}
}

func TestParseFile(t *testing.T) {
	read := func(string) ([]byte, error) { return []byte(golden(t)), nil }
	for text, want := range map[string][]string{
		"[{name: p, tiers: [attested], measurements: {files: [a/1.json], paths: [uki, direct]}}]": {"p/1/uki", "p/1/direct"},
		"[{name: p, tiers: [none]}]": {"p"},
		"listen: :1\noverlays: {folder: o, keys: [k]}\npolicies: [{name: p, tiers: [none]}]": {"p"},
		"listen: :1": {},
	} {
		if s, err := ParseFile([]byte(text), read); err != nil || !slices.Equal(s.Names(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "text", "policies: [{name: p, tier: [none]}]", "policies:", "policies: [{name: p}]", "[{name: p, tiers: [none], measurements: {files: [x], paths: [y]}}]", "a: 1\na: 2"} {
		if _, err := ParseFile([]byte(text), read); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
