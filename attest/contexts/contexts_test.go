package contexts

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestDefaultPath(t *testing.T) {
	t.Setenv("HOME", "/home/ann")
	for dir, want := range map[string]string{
		"/etc/xdg": "/etc/xdg/ember/emberctl.yaml", "": "/home/ann/.config/ember/emberctl.yaml", "relative": "/home/ann/.config/ember/emberctl.yaml",
	} {
		t.Setenv("XDG_CONFIG_HOME", dir)
		if got, err := DefaultPath(); got != want || err != nil {
			t.Errorf("with %q it is %q, %v", dir, got, err)
		}
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ember", "emberctl.yaml")
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := f.Get(""); c != (Context{}) || err != nil {
		t.Errorf("without any: %+v, %v", c, err)
	}
	rack := Context{Server: "https://a:1", Pin: "p", Operator: "ann.key"}
	for name, c := range map[string]Context{"rack": rack, "here": {Server: "unix:/s", CA: "/ca.pem"}} {
		if err := f.Set(name, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Use("rack"), f.Write()); err != nil {
		t.Fatal(err)
	}
	back, err := Read(path)
	if err != nil || !reflect.DeepEqual(back, f) {
		t.Fatalf("read as %+v, %v", back, err)
	}
	rack.Operator = filepath.Join(filepath.Dir(path), "ann.key")
	if c, err := back.Get(""); c != rack || err != nil {
		t.Errorf("the current one is %+v, %v", c, err)
	}
	if err := back.Remove("rack"); err != nil || back.Current != "" {
		t.Errorf("after it was removed, %q is current, %v", back.Current, err)
	}
	for _, err := range []error{back.Use("rack"), back.Remove("rack")} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("of what is not there: %v", err)
		}
	}
}

func TestOver(t *testing.T) {
	base := Context{Server: "a", Pin: "b", Operator: "c"}
	for _, test := range []struct{ other, want Context }{
		{Context{}, base},
		{Context{Server: "x"}, Context{Server: "x", Pin: "b", Operator: "c"}},
		{Context{CA: "x"}, Context{Server: "a", CA: "x", Operator: "c"}},
		{Context{Pin: "x", Operator: "y"}, Context{Server: "a", Pin: "x", Operator: "y"}},
	} {
		if got := base.Over(test.other); got != test.want {
			t.Errorf("over it %+v: %+v", test.other, got)
		}
	}
}

func TestCheck(t *testing.T) {
	pin := "sha256:" + strings.Repeat("0", 64)
	for _, good := range []Context{{Server: "unix:/s"}, {Server: "https://a"}, {Server: "https://[::1]:8444/", Pin: pin}, {Server: "https://a", CA: "f"}} {
		if err := good.Check(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for _, bad := range []Context{
		{}, {Server: "unix:"}, {Server: "http://a"}, {Server: "a:8444"}, {Server: "https://"}, {Server: "https://ann@a"}, {Server: "https://a/path"},
		{Server: "https://a?q"}, {Server: "https://a", Pin: "x"}, {Server: "https://a", Pin: pin, CA: "f"},
	} {
		if bad.Check() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("current: a\ncontexts: {a: {server: 'unix:/s'}}\n"))
	f.Add([]byte("current: b\ncontexts: {a: {pin: x}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "f")
		file := &File{path: path}
		if file.parse(b) != nil {
			return
		}
		if err := file.Write(); err != nil {
			t.Fatal(err)
		}
		back, err := Read(path)
		if err != nil || back.Current != file.Current || len(back.Contexts) != len(file.Contexts) {
			text, _ := os.ReadFile(path)
			t.Errorf("it is written as %s, and read as %+v, %v", text, back, err)
		}
	})
}
