// Package vectors has the test vectors of docs/attestation-protocol.md, in testdata, and tests that both our packages
// and a second implementation, written from the page alone, agree with each of them in both directions. It has
// nothing but tests. With -update what can be made is made anew; what takes chance, or a TPM, is another one then.
package vectors

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

var update = flag.Bool("update", false, "write the vectors anew")

// octets are bytes, in hex in the files.
type octets []byte

func (o octets) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(o)), nil }

func (o *octets) UnmarshalText(text []byte) (err error) {
	*o, err = hex.DecodeString(string(text))
	return err
}

// vectors are those of a file, which make makes anew if it is asked for.
func vectors[T any](t *testing.T, name string, make func() T) (v T) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		b, err := json.MarshalIndent(make(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}

// equal tells what of a vector is otherwise here.
func equal(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s is %x, not %x", what, got, want)
	}
}

// must gives a value that cannot fail with the inputs of a vector.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
