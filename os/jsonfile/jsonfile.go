// Package jsonfile is how one process tells others what it knows: as JSON in a file, mostly in /run/ember, which is
// replaced as a whole. Whoever reads it sees what was written last, and never half of it.
package jsonfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Read reads the value in a file. It is zero if there is no file, or an error.
func Read[T any](path string) (T, error) {
	var v, zero T
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return zero, nil
	}
	if err != nil {
		return zero, err
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return zero, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Write replaces a file. Its directory is there.
func Write(path string, v any, mode fs.FileMode) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	// renameio would try /tmp first, which anything may be mounted on.
	return renameio.WriteFile(path, append(text, '\n'), mode, renameio.WithTempDir(filepath.Dir(path)))
}
