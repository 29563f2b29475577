package policy

import (
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/verify"
)

func golden(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("testdata/build.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// digest is one whose bytes are all b.
func digest(b byte) Digest { return Digest(of(b)) }

func TestBuildRoundTrip(t *testing.T) {
	want := &Build{
		Format: BuildFormat, Version: "0.1.0", Files: map[string]Digest{"vmlinuz-x86_64": digest(0x01)},
		Paths: []Path{{
			Name: "uki", PCRs: map[int]Digests{11: {digest(0x11)}},
			Events: map[int]Events{4: {Require: Digests{digest(0x41)}, Only: Digests{digest(0x41), digest(0x42)}}},
			Log:    []Measured{{4, digest(0x41), "the image"}},
		}, {
			Name: "direct", Events: map[int]Events{9: {Require: Digests{digest(0x91)}}},
			Log: []Measured{{9, digest(0x91), "the initrd"}},
		}},
	}
	got, err := ParseBuild([]byte(golden(t)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v: %v", got, err)
	}
	if text, err := want.JSON(); err != nil || string(text) != golden(t) {
		t.Errorf("written as\n%s%v", text, err)
	}
}

func TestParseBuildRefuses(t *testing.T) {
	for _, test := range []struct{ old, new, want string }{
		{golden(t), "", "unexpected end"},
		{golden(t), "{}", "of format 0, not 1"},
		{golden(t), strings.Repeat(" ", 2<<20), "more than"},
		{`"format": 1`, `"format": 2`, "of format 2, not 1"},
		{`"pcrs"`, `"pcr"`, `unknown field "pcr"`},
		{`"only"`, `"all"`, `unknown field "all"`},
		{`"direct"`, `"uki"`, `the name "uki" is missing or there twice`},
		{`"direct"`, `""`, `the name "" is missing or there twice`},
		{`"11"`, `"16"`, "uki: pcrs: PCR 16 is not quoted"},
		{`"11"`, `"x"`, "x"},
		{`"4242424242424242424242424242424242424242424242424242424242424242"`, `"42"`, `"42" is not a SHA-256`},
		{`"1111111111111111111111111111111111111111111111111111111111111111"`, "", "a list of digests is empty"},
		{`"require": [
            "9191919191919191919191919191919191919191919191919191919191919191"
          ]`, `"require": null`, "a list of digests is empty"},
		{`"require": [
            "9191919191919191919191919191919191919191919191919191919191919191"
          ]`, "", "direct: events: PCR 9 has neither require nor only"},
		{`"paths": [`, `"paths": [], "x": [`, `unknown field "x"`},
	} {
		text := strings.Replace(golden(t), test.old, test.new, 1)
		if _, err := ParseBuild([]byte(text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("with %q: %v, not %q", test.new, err, test.want)
		}
	}
	if _, err := ParseBuild([]byte(golden(t) + "{}")); err == nil || !strings.Contains(err.Error(), "after top-level value") {
		t.Errorf("with more behind it: %v", err)
	}
	if _, err := ParseBuild([]byte(`{"format": 1}`)); err == nil || !strings.Contains(err.Error(), "no way to boot") {
		t.Errorf("without a path: %v", err)
	}
	if _, err := (&Build{Paths: []Path{{Name: "uki"}}}).JSON(); err == nil || !strings.Contains(err.Error(), "uki has no condition") {
		t.Errorf("without a condition: %v", err)
	}
}

// policies are expanded with the golden file and one that is of the next build.
func expand(t *testing.T, text string) ([]Policy, error) {
	t.Helper()
	var c struct {
		Policies []Policy `yaml:"policies"`
	}
	if err := DecodeYAML([]byte("policies:\n"+text), &c); err != nil {
		t.Fatal(err)
	}
	return Expand(c.Policies, func(file string) ([]byte, error) {
		switch file {
		case "builds/1.json":
			return []byte(golden(t)), nil
		case "builds/2.json":
			return []byte(strings.ReplaceAll(golden(t), hexOf("41"), hexOf("43"))), nil
		}
		return nil, errors.New("no such file")
	})
}

// During a roll-out machines may have booted one build or the other, and nothing else.
func TestExpand(t *testing.T) {
	policies, err := expand(t, "- {name: other, tiers: [none]}\n"+
		"- {name: p, tiers: [attested], pcrs: {7: "+hexOf("07")+"}, measurements: {files: [builds/1.json, builds/2.json], paths: [uki, direct]}, overlay: o}\n")
	if err != nil {
		t.Fatal(err)
	}
	set, err := New(policies)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range policies {
		names = append(names, p.Name)
	}
	if want := []string{"other", "p/1/uki", "p/1/direct", "p/2/uki", "p/2/direct"}; !reflect.DeepEqual(names, want) {
		t.Errorf("the policies are %q, not %q", names, want)
	}
	for name, test := range map[string]struct {
		change func(*verify.Evidence)
		policy string // "" if the machine is refused
	}{
		"the first":           {func(*verify.Evidence) {}, "p/1/uki"},
		"the second":          {func(e *verify.Evidence) { e.Events[0].Digest = of(0x43) }, "p/2/uki"},
		"another program too": {func(e *verify.Evidence) { e.Events[1].Digest = of(0x49) }, ""},
		"another PCR":         {func(e *verify.Evidence) { e.PCRs[11] = of(0x12) }, ""},
		"the policy's own":    {func(e *verify.Evidence) { e.PCRs[7] = of(0x08) }, ""},
		"another way": {func(e *verify.Evidence) {
			e.PCRs[11], e.Events = of(0), append(e.Events, verify.Event{PCR: 9, Digest: of(0x91)})
			e.Explained[9] = true
		}, "p/1/direct"},
	} {
		e := evidence()
		e.PCRs[11] = of(0x11)
		test.change(e)
		if d := set.Decide(e); d.Policy != test.policy || d.Allow != (test.policy != "") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	const start = "- {name: p, tiers: [attested], "
	for text, want := range map[string]string{
		"measurements: {files: [builds/3.json], paths: [uki]}}":                                              `policy "p": measurements builds/3.json: no such file`,
		"measurements: {files: [builds/1.json], paths: [bios]}}":                                             `no way to boot called "bios", only uki, direct`,
		"measurements: {files: [builds/1.json]}}":                                                            "paths is missing",
		"measurements: {paths: [uki]}}":                                                                      "files is missing",
		"pcrs: {11: " + hexOf("11") + "}, measurements: {files: [builds/1.json], paths: [uki]}}":             "a condition of its own on PCR 11",
		"events: {4: {require: " + hexOf("41") + "}}, measurements: {files: [builds/1.json], paths: [uki]}}": "a condition of its own on PCR 4",
	} {
		if _, err := expand(t, start+text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}

// A policy whose measurements nobody has read is for no machine.
func TestNotExpanded(t *testing.T) {
	d := parse(t, "- {name: p, tiers: [attested], measurements: {files: [a.json], paths: [uki]}}").Decide(evidence())
	if d.Allow || d.Code() != CodePCR || !strings.Contains(d.Reasons[0].String(), "have not been read") {
		t.Errorf("decision %+v", d)
	}
}

// What is parsed can be written and parsed again, and has a condition for each way.
func FuzzParseBuild(f *testing.F) {
	f.Add(golden(f))
	f.Add(`{"format": 1}`)
	f.Fuzz(func(t *testing.T, text string) {
		build, err := ParseBuild([]byte(text))
		if err != nil {
			return
		}
		again, err := build.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseBuild(again); err != nil || len(back.Paths) != len(build.Paths) {
			t.Errorf("%q became %q: %v", text, again, err)
		}
		for _, p := range build.Paths {
			if len(p.PCRs)+len(p.Events) == 0 {
				t.Errorf("%s has no condition", p.Name)
			}
		}
	})
}
