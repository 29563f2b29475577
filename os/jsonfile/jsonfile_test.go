package jsonfile

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type value struct {
	Name   string
	Number int `json:",omitempty"`
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value.json")
	if got, err := Read[value](path); err != nil || got != (value{}) {
		t.Errorf("before it is there: %+v, %v", got, err)
	}
	for _, want := range []value{{"a", 1}, {Name: "b"}} {
		if err := Write(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read[value](path); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "{\n  \"Name\": \"b\"\n}\n" {
		t.Errorf("%q, %v", text, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := Write(path, math.NaN(), 0o600); err == nil {
		t.Error("what is no JSON is written")
	}
	if got, err := Read[value](path); err != nil || got.Name != "b" {
		t.Errorf("after that: %+v, %v", got, err)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v are there, %v", left, err)
	}
}

func TestReadFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value.json")
	for _, text := range []string{"", "{", `{"Name":"a","Number":"b"}`, "[]"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Read[value](path); err == nil || !strings.HasPrefix(err.Error(), path) || got != (value{}) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	if _, err := Read[value](filepath.Dir(path)); err == nil {
		t.Error("a directory is read")
	}
}

func TestWriteFails(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "missing", "value.json"), 1, 0o644); err == nil {
		t.Error("there is no directory")
	}
}
