package main

import (
	"os"
	"path/filepath"
	"slices"
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
