package policy

import (
	"reflect"
	"strings"
	"testing"
)

func TestDiff(t *testing.T) {
	build := func(change ...string) *Build {
		b, err := ParseBuild([]byte(strings.NewReplacer(change...).Replace(golden(t))))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	at := func(b byte) *Digest { d := digest(b); return &d }
	if d := build().Diff(build()); !d.Same() || d.OldVersion != "0.1.0" {
		t.Errorf("with itself: %+v", d)
	}
	// Another kernel: its file, its event, what is required and allowed, and a PCR.
	d := build().Diff(build("0.1.0", "0.2.0", hexOf("01"), hexOf("02"), hexOf("41"), hexOf("43"), hexOf("11"), hexOf("12")))
	want := &Difference{
		OldVersion: "0.1.0", NewVersion: "0.2.0",
		Files: []FileChange{{"vmlinuz-x86_64", at(0x01), at(0x02)}},
		Paths: []PathDifference{{
			Name: "uki",
			Conditions: []ConditionChange{
				{11, "value", Digests{digest(0x11)}, Digests{digest(0x12)}},
				{4, "require", Digests{digest(0x41)}, Digests{digest(0x43)}},
				{4, "only", Digests{digest(0x41)}, Digests{digest(0x43)}},
			},
			Log: []EventChange{{4, "the image", at(0x41), at(0x43)}},
		}},
	}
	if !reflect.DeepEqual(d, want) || d.Same() {
		t.Errorf("another kernel: %+v", d)
	}
	// Another way to boot, and another file.
	d = build().Diff(build(`"direct"`, `"ipxe"`, "vmlinuz-x86_64", "vmlinuz-arm64"))
	if len(d.Files) != 2 || d.Files[0].Old != nil || d.Files[1].New != nil || len(d.Paths) != 2 || d.Paths[0].Only != "old" || d.Paths[1].Only != "new" ||
		d.Paths[1].Name != "ipxe" || d.Paths[1].Log[0].Old != nil || *d.Paths[1].Log[0].New != digest(0x91) || d.Paths[0].Conditions[0].New != nil {
		t.Errorf("another way: %+v", d)
	}
}

// Two events of the same kind are compared in their order.
func TestDiffOrder(t *testing.T) {
	old := Path{Log: []Measured{{9, digest(1), "a part"}, {9, digest(2), "a part"}, {4, digest(3), "a part"}}}
	next := Path{Log: []Measured{{9, digest(1), "a part"}, {9, digest(4), "a part"}, {9, digest(5), "a part"}, {4, digest(3), "a part"}}}
	d := old.diff(next)
	if len(d.Log) != 2 || *d.Log[0].Old != digest(2) || *d.Log[0].New != digest(4) || d.Log[1].Old != nil || *d.Log[1].New != digest(5) {
		t.Errorf("%+v", d.Log)
	}
}
