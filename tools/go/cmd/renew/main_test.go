package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	folder := t.TempDir()
	text := `module example.org/own

go 1.26

require (
	example.com/a v1.0.0
	example.com/b v2.2.9+incompatible // newest of v2.2: v2.3 does not link
	example.com/c v1.0.0 // indirect
)
`
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	versions, queries, err := read(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(versions) != 2 || versions["example.com/a"] != "v1.0.0" || versions["example.com/b"] != "v2.2.9+incompatible" {
		t.Errorf("versions %v", versions)
	}
	if want := []string{"example.com/a@upgrade", "example.com/b@v2.2"}; !slices.Equal(queries, want) {
		t.Errorf("queries %q, want %q", queries, want)
	}
}

// TestNext has a Go that finds a new version, and one that finds none.
func TestNext(t *testing.T) {
	for get, want := range map[string]string{
		"sed -i s/v1.0.0/v1.1.0/ go.mod": "~ example.com/a v1.0.0 -> v1.1.0\n" + next,
		"exit 0":                         "as it was\n",
		"exit 1":                         "example.com/a@upgrade stays: go get example.com/a@upgrade: exit status 1: \nas it was\n",
	} {
		sdk, folder := filepath.Join(t.TempDir(), "go"), t.TempDir()
		for file, text := range map[string]string{
			sdk:                             "#!/bin/sh\n[ $1 = mod ] || " + get + "\n",
			filepath.Join(folder, "go.mod"): "module example.org/own\n\ngo 1.26\n\nrequire example.com/a v1.0.0\n",
		} {
			if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var out strings.Builder
		if err := renewAll(&out, sdk, []string{folder}); err != nil {
			t.Error(err)
		}
		if got := strings.ReplaceAll(out.String(), folder+": ", ""); got != want {
			t.Errorf("%s: it says %q, not %q", get, got, want)
		}
	}
}
