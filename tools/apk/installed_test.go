package apk

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

func TestReadInstalled(t *testing.T) {
	f, err := os.Open("testdata/installed") // written by apko 1.2.30
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := ReadInstalled(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d packages", len(got))
	}
	p := got[1]
	if p.Name != "ember" || p.Version != "0.1.0-r0" || p.Arch != "x86_64" || p.License != "Apache-2.0" ||
		p.Size != 115344 || !reflect.DeepEqual(p.Depends, []string{"ember-base"}) {
		t.Errorf("got %+v", p.Info)
	}
	want := []string{"init", "bin", "bin/inbin", "usr", "usr/bin", "usr/bin/aaa", "usr/bin/ember", "usr/bin/zzz",
		"usr/lib", "usr/lib/x", "usr/lib/x/alink", "usr/lib/x/sl", "usr/lib/x/zcat2"}
	if !reflect.DeepEqual(p.Paths, want) {
		t.Errorf("got %q, want %q", p.Paths, want)
	}
}

func TestReadInstalledRefuses(t *testing.T) {
	for _, text := range []string{"P", "nothing", "V:1\n\n", "P:a\nI:x\n"} {
		if got, err := ReadInstalled(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read as %+v", text, got)
		}
	}
}

func FuzzReadInstalled(f *testing.F) {
	text, err := os.ReadFile("testdata/installed")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		packages, err := ReadInstalled(strings.NewReader(text))
		if err == nil && len(packages) > strings.Count(text, ":") {
			t.Errorf("%d packages of %q", len(packages), text)
		}
	})
}
