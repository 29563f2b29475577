package policy

import (
	"fmt"
	"slices"
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
	if p := c.PCRs[4]; len(p.Missing) != 1 || p.Missing[0] != Digest(digest(7)) || !p.Events || len(p.Want) != 1 {
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
