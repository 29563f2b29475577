package policy

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

func TestCompare(t *testing.T) {
	digest := func(b byte) []byte { d := make([]byte, 32); d[31] = b; return d }
	e := &verify.Evidence{
		Node: fmt.Sprintf("%064x", 1), Tier: protocol.Attested,
		PCRs:      map[int][]byte{4: digest(4), 5: digest(5), 7: digest(9), 9: digest(1)},
		Explained: map[int]bool{4: true, 5: true, 9: false},
		Events: []verify.Event{
			{PCR: 4, Digest: digest(1)}, {PCR: 5, Digest: digest(8)}, {PCR: 4, Digest: digest(3)}, {PCR: 4, Digest: digest(2)},
		},
	}
	set, err := Parse(fmt.Appendf(nil, `
- {name: others, tiers: [none]}
- name: near
  tiers: [attested]
  pcrs: {7: %064x, 5: [%064x, %064x], 4: %064x}
  events: {4: {require: [%064x, %064x], only: [%064x, %064x]}, 5: {require: %064x}, 9: {only: %064x}}
`, 7, 5, 6, 4, 1, 7, 1, 7, 8, 1))
	if err != nil {
		t.Fatal(err)
	}
	c := set.Compare(e, set.Decide(e))
	if c.Policy != "near" || !slices.Equal(c.Differing(), []int{4, 7, 9}) {
		t.Errorf("%s: %v", c.Policy, c.Differing())
	}
	if len(c.Wrong) != 2 || !c.Wrong[2] || !c.Wrong[3] {
		t.Errorf("wrong events %v, want the third and the fourth", c.Wrong)
	}
	if p := c.PCRs[4]; len(p.Missing) != 1 || p.Missing[0].Digest != Digest(digest(7)) || !p.Events || len(p.Want) != 1 {
		t.Errorf("PCR 4: %+v", p)
	}
	if p := c.PCRs[5]; !p.Holds || len(p.Want) != 2 {
		t.Errorf("PCR 5: %+v", p)
	}

	e.Tier = protocol.None
	d := set.Decide(e)
	if c := set.Compare(e, d); !d.Allow || c.Policy != "others" || len(c.PCRs) != 0 {
		t.Errorf("a policy without conditions: %+v", c)
	}
	empty, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := empty.Compare(e, empty.Decide(e)); c.Policy != "" || c.Differing() != nil {
		t.Errorf("without policies: %+v", c)
	}
}

// log is one of events that have their names as data, such as "9 the initrd".
func log(texts ...string) (all []Measured) {
	for _, text := range texts {
		var pcr int
		fmt.Sscan(text, &pcr)
		all = append(all, Measured{pcr, sha256.Sum256([]byte(text)), text})
	}
	return all
}

// valueOf is that of a PCR with such a log.
func valueOf(pcr int, all []Measured) Digest {
	var digests [][]byte
	for _, m := range all {
		if m.PCR == pcr {
			digests = append(digests, m.Digest[:])
		}
	}
	return Digest(replay(digests))
}

// booted is a machine with such a log.
func booted(all []Measured) *verify.Evidence {
	e := &verify.Evidence{Tier: protocol.Attested, PCRs: map[int][]byte{}, Explained: map[int]bool{}}
	for _, pcr := range protocol.QuotedPCRs {
		value := valueOf(pcr, all)
		e.PCRs[pcr], e.Explained[pcr] = value[:], true
	}
	for _, m := range all {
		e.Events = append(e.Events, verify.Event{PCR: m.PCR, Digest: m.Digest[:]})
	}
	return e
}

// rollOut has a policy for each of several builds, given by their logs, of which PCRs 9 and 11 are judged by value and
// PCR 4 by its events.
func rollOut(t *testing.T, own string, builds map[string][]Measured) *Set {
	t.Helper()
	files := slices.Sorted(maps.Keys(builds))
	policies := []Policy{}
	text := fmt.Sprintf("[{name: p, tiers: [attested], %s measurements: {files: [%s], paths: [uki]}}]", own, strings.Join(files, ", "))
	if err := DecodeYAML([]byte(text), &policies); err != nil {
		t.Fatal(err)
	}
	policies, err := Expand(policies, func(file string) ([]byte, error) {
		all := builds[file]
		way := Path{Name: "uki", Log: all, PCRs: map[int]Digests{9: {valueOf(9, all)}, 11: {valueOf(11, all)}}, Events: map[int]Events{}}
		for _, m := range all {
			if m.PCR == 4 {
				way.Events[4] = Events{Require: append(way.Events[4].Require, m.Digest)}
			}
		}
		return (&Build{Format: BuildFormat, Paths: []Path{way}}).JSON()
	})
	if err != nil {
		t.Fatal(err)
	}
	set, err := New(policies)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var built = log("4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 line", "9 initrd")

// What a policy of measurements takes by value is set beside the events that make the value.
func TestCompareLog(t *testing.T) {
	set := rollOut(t, "pcrs: {7: "+hexOf("07")+"},", map[string][]Measured{"1.json": built})
	for name, test := range map[string]struct {
		log     []string
		wrong   []int
		missing []string // by PCR
	}{
		"nothing":       {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 line", "9 initrd"}, nil, nil},
		"another line":  {[]string{"4 image", "11 name", "11 kernel", "11 other", "4 kernel", "9 other", "9 initrd"}, []int{3, 5}, []string{"9 line", "11 line"}},
		"one more":      {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 line", "9 initrd", "9 more"}, []int{7}, nil},
		"one before":    {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 more", "9 line", "9 initrd"}, []int{5}, nil},
		"one twice":     {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 line", "9 line", "9 initrd"}, []int{6}, nil},
		"one too few":   {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 line"}, nil, []string{"9 initrd"}},
		"other order":   {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 initrd", "9 line"}, []int{5}, nil},
		"another way":   {[]string{"4 kernel", "9 line", "9 initrd"}, nil, []string{"4 image", "11 name", "11 kernel", "11 line"}},
		"other program": {[]string{"4 evil", "11 name", "11 kernel", "11 line", "4 kernel", "9 line", "9 initrd"}, nil, []string{"4 image"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := booted(log(test.log...))
			c := set.Compare(e, set.Decide(e))
			if got := slices.Sorted(maps.Keys(c.Wrong)); !slices.Equal(got, test.wrong) {
				t.Errorf("wrong events %v, want %v", got, test.wrong)
			}
			var missing []string
			for _, pcr := range slices.Sorted(maps.Keys(c.PCRs)) {
				for _, m := range c.PCRs[pcr].Missing {
					missing = append(missing, m.What)
				}
			}
			if !slices.Equal(missing, test.missing) {
				t.Errorf("missing events %q, want %q", missing, test.missing)
			}
			// Nothing is predicted of the policy's own PCR.
			if p := c.PCRs[7]; p.Holds || len(p.Missing) > 0 {
				t.Errorf("PCR 7: %+v", p)
			}
		})
	}
}

// Of two events that are the same and were predicted, one is missing where there is only one.
func TestCompareLogTwice(t *testing.T) {
	all := log("9 line", "9 part", "9 part")
	p := &Policy{PCRs: map[int]Digests{9: {valueOf(9, all)}}, log: all}
	if wrong, missing := p.walk(9, booted(log("9 other", "9 part"))); wrong != 0 || !slices.Equal(missing, all[:2]) {
		t.Errorf("event %d is wrong, %v are missing", wrong, missing)
	}
}

// A log that is not all of a PCR says nothing of its events.
func TestCompareLogOfPart(t *testing.T) {
	other := log("4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 other", "9 initrd")
	for name, test := range map[string]struct {
		own    string
		change func(*verify.Evidence)
	}{
		"no log of the machine":      {"", func(e *verify.Evidence) { e.Events = nil }},
		"the machine's is not whole": {"", func(e *verify.Evidence) { e.Events = e.Events[:6] }},
		"the build's is not whole": {"pcrs: {4: " + hexOf("04") + "},", func(e *verify.Evidence) {
			*e = *booted(append(other[:5:5], log("4 firmware", "9 line", "9 initrd")...))
		}},
	} {
		set := rollOut(t, test.own, map[string][]Measured{"1.json": built})
		e := booted(other)
		test.change(e)
		c := set.Compare(e, set.Decide(e))
		if len(c.Differing()) == 0 || len(c.Wrong) > 0 || len(c.PCRs[9].Missing) > 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// During a roll-out a machine is set beside the build that it has, whichever is named first.
func TestCompareNearest(t *testing.T) {
	next := log("4 next image", "11 name", "11 next kernel", "11 line", "4 next kernel", "9 line", "9 next initrd")
	set := rollOut(t, "", map[string][]Measured{"1.json": built, "2.json": next})
	for name, test := range map[string]struct {
		log    []string
		policy string
		pcrs   []int
	}{
		"the first, by another line":  {[]string{"4 image", "11 name", "11 kernel", "11 line", "4 kernel", "9 other", "9 initrd"}, "p/1/uki", []int{9}},
		"the second, by another line": {[]string{"4 next image", "11 name", "11 next kernel", "11 line", "4 next kernel", "9 other", "9 next initrd"}, "p/2/uki", []int{9}},
		"the second, with another line in it": {
			[]string{"4 other image", "11 name", "11 next kernel", "11 other", "4 next kernel", "9 other", "9 next initrd"}, "p/2/uki", []int{4, 9, 11},
		},
		"neither": {[]string{"4 evil", "9 evil", "11 evil"}, "p/1/uki", []int{4, 9, 11}},
	} {
		e := booted(log(test.log...))
		if c := set.Compare(e, set.Decide(e)); c.Policy != test.policy || !slices.Equal(c.Differing(), test.pcrs) {
			t.Errorf("%s: beside %s, %v differ", name, c.Policy, c.Differing())
		}
	}
	e := booted(log("11 name", "11 next kernel", "11 line", "9 other"))
	e.Events = nil
	if c := set.Compare(e, set.Decide(e)); c.Policy != "p/2/uki" {
		t.Errorf("without a log: beside %s, %v differ", c.Policy, c.Differing())
	}
}
