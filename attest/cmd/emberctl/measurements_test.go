package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMeasurementsDiff(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(folder, "testdata/measurements.json"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	next := strings.NewReplacer("0.1.0", "0.2.0", strings.Repeat("01", 32), strings.Repeat("02", 32), strings.Repeat("41", 32), strings.Repeat("43", 32),
		strings.Repeat("11", 32), strings.Repeat("12", 32), `"direct"`, `"ipxe"`).Replace(string(b))
	for name, text := range map[string]string{"old.json": string(b), "new.json": next, "text": "text"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := new(desk)
	golden(t, "measurements-diff.golden", d.ok(t, "measurements", "diff", "old.json", "new.json"))
	golden(t, "measurements-diff.json", d.ok(t, "measurements", "diff", "old.json", "new.json", "--json"))
	if got, want := d.ok(t, "measurements", "diff", "old.json", "old.json", "--exit-code"), "versions 0.1.0 and 0.1.0\nMachines that boot them record the same.\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
	d.no(t, negative, "are different", "measurements", "diff", "old.json", "new.json", "--exit-code")
	d.no(t, failed, "text: reading measurements", "measurements", "diff", "old.json", "text")
	d.no(t, failed, "no such file", "measurements", "diff", "none", "old.json")

	// A policy that names measurements is read with them, from beside it.
	if err := os.WriteFile("attestd.yaml", []byte("policies: [{name: p, tiers: [attested], measurements: {files: [old.json, new.json], paths: [uki]}}]"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := d.ok(t, "policy", "check", "attestd.yaml"), "attestd.yaml: 2 policies, nothing wrong\n"; got != want {
		t.Errorf("it says %q, not %q", got, want)
	}
}
