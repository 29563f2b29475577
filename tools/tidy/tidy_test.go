package main

import (
	"strings"
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
	got, err := rules([]*build.File{f})
	if err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%v, got\n%s\nwant it to end with\n%s", err, got, want)
	}
	if f, err = build.Parse("some/y.bzl", []byte(`thing = rule(impl, attrs = {"n": attr.int()})`)); err != nil {
		t.Fatal(err)
	}
	if _, err := rules([]*build.File{f}); err == nil || err.Error() != "some/y.bzl: the attribute n of thing has no doc" {
		t.Errorf("an attribute without doc: %v", err)
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
