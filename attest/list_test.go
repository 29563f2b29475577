package attest

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pages are those of the manual whose tables name tests, and how many lines of theirs do so: a line that is gone is an
// attack, or an accident, of which nobody knows any more whether it is tested.
var pages = map[string]int{"attestation-tests.md": 189, "last-known-good.md": 89}

// row is a line of the manual's tables that names a test or a fuzz target.
var row = regexp.MustCompile("\\| `([a-z/0-9]+)` \\| `((?:Test|Fuzz)\\w+)(?:/([^`]+))?` \\|")

// TestList looks for every test that the manual names.
func TestList(t *testing.T) {
	sources := map[string]string{} // of the tests, by package
	for page, lines := range pages {
		text, err := os.ReadFile(filepath.Join("../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		rows := row.FindAllStringSubmatch(string(text), -1)
		if len(rows) != lines {
			t.Errorf("%s: %d lines name tests, and there were %d", page, len(rows), lines)
		}
		for _, r := range rows {
			dir, name, part := r[1], r[2], r[3]
			if sources[dir] == "" {
				sources[dir] = testsOf(t, filepath.Join("..", dir))
			}
			if !strings.Contains(sources[dir], "func "+name+"(") || part != "" && !strings.Contains(sources[dir], strconv.Quote(part)) {
				t.Errorf("%s: %s has no %s/%s", page, dir, name, part)
			}
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
