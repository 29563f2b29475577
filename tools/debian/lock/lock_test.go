package main

import (
	"slices"
	"testing"
)

func TestCompare(t *testing.T) {
	before := versions([]byte("suite trixie\ndeb bash 5.2 debian pool/b 1 aa\ndeb gone 1 debian pool/g 1 bb\ndeb same 3 debian pool/s 1 cc\n"))
	after := versions([]byte("suite trixie\ndeb bash 5.3 debian pool/b 1 dd\ndeb same 3 debian pool/s 1 cc\ndeb new 2 debian pool/n 1 ee\n"))
	want := []string{"~ bash 5.2 -> 5.3", "- gone 1", "+ new 2"}
	if got := compare(before, after); !slices.Equal(got, want) {
		t.Errorf("compare gives %q, want %q", got, want)
	}
}
