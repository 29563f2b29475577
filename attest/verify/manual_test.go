package verify_test

import (
	_ "embed"
	"os"
	"strings"
	"testing"
)

//go:embed refusal.go
var refusals string

// The page about the protocol has every code.
func TestManualHasCodes(t *testing.T) {
	b, err := os.ReadFile("../../docs/attestation-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, constants, _ := strings.Cut(refusals, "// Codes of refusals.")
	n := 0
	for line := range strings.Lines(constants) {
		if fields := strings.Fields(line); len(fields) >= 3 && fields[1] == "=" {
			n++
			if code := strings.Trim(fields[2], `"`); !strings.Contains(string(b), "`"+code+"`") {
				t.Errorf("%s is not explained", code)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d codes were found", n)
	}
}
