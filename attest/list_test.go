package attest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// row is a line of the manual's tables that names a test or a fuzz target.
var row = regexp.MustCompile("\\| `([a-z/0-9]+)` \\| `((?:Test|Fuzz)\\w+)(?:/([^`]+))?` \\|")

// TestList looks for every test that the manual names.
func TestList(t *testing.T) {
	manual, err := os.ReadFile("../docs/attestation-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{} // of the tests, by package
	rows := row.FindAllStringSubmatch(string(manual), -1)
	if len(rows) < 100 {
		t.Fatalf("only %d rows were found", len(rows))
	}
	for _, r := range rows {
		dir, name, part := r[1], r[2], r[3]
		if sources[dir] == "" {
			sources[dir] = testsOf(t, filepath.Join("..", dir))
		}
		if !strings.Contains(sources[dir], "func "+name+"(") || part != "" && !strings.Contains(sources[dir], strconv.Quote(part)) {
			t.Errorf("%s has no %s/%s", dir, name, part)
		}
	}
}

func testsOf(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("there are no tests in %s: %v", dir, err)
	}
	var text strings.Builder
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}
