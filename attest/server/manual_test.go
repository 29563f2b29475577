package server

import (
	_ "embed"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/policy"
)

//go:embed refusal.go
var refusals string

// The manual has every reason that the audit log can have, but for those of package verify.
func TestManualHasReasons(t *testing.T) {
	b, err := os.ReadFile("../../docs/attestd.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{CodeAllowed, policy.CodeNone, policy.CodeTier, policy.CodeNode, policy.CodePCR, policy.CodeEvent}
	for line := range strings.Lines(refusals) {
		if fields := strings.Fields(line); len(fields) >= 3 && strings.HasPrefix(fields[0], "Code") && fields[1] == "=" {
			codes = append(codes, strings.Trim(fields[2], `"`))
		}
	}
	if len(codes) < 20 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(string(b), "| `"+code+"` |") {
			t.Errorf("%s is not explained", code)
		}
	}
}
