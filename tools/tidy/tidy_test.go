package main

import (
	"os"
	"testing"

	"github.com/bazelbuild/buildtools/build"
)

// TestWorkspace fails on what `bazel run //:tidy` would change.
func TestWorkspace(t *testing.T) {
	if err := run(true, os.Getenv("GAZELLE"), os.Getenv("MODULE")); err != nil {
		t.Error(err)
	}
}

func TestRules(t *testing.T) {
	f, err := build.Parse("some/x.bzl", []byte(`
_SHARED = {"src": attr.label(mandatory = True, doc = "The\n source.")}
thing = rule(impl, doc = "A thing.", attrs = _SHARED | {"n": attr.int(doc = "a|b"), "_tool": attr.label()})
`))
	if err != nil {
		t.Fatal(err)
	}
	f.Path = "some/x.bzl"
	want := "## //some:x.bzl\n\n### thing\n\nA thing.\n\n| attribute | kind | meaning |\n|---|---|---|\n" +
		"| `src` | label, required | The source. |\n| `n` | int | a\\|b |\n"
	got := string(rules([]*build.File{f}))
	if len(got) < len(want) || got[len(got)-len(want):] != want {
		t.Errorf("got\n%s\nwant it to end with\n%s", got, want)
	}
}
