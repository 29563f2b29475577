package main

import (
	"testing"

	"github.com/bazelbuild/buildtools/build"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestWorkspace fails on what `bazel run //:tidy` would change.
func TestWorkspace(t *testing.T) {
	if err := run(true, vmtest.File(t, "MODULE"), vmtest.File(t, "GAZELLE")); err != nil {
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

func TestRepositoryName(t *testing.T) {
	for module, want := range map[string]string{
		"github.com/google/go-tpm":   "com_github_google_go_tpm",
		"golang.org/x/sys":           "org_golang_x_sys",
		"github.com/ProtonMail/x/v2": "com_github_protonmail_x_v2",
		"chainguard.dev/apko":        "dev_chainguard_apko",
	} {
		if got := repositoryName(module); got != want {
			t.Errorf("%s: %s, want %s", module, got, want)
		}
	}
}
