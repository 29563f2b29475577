package unit

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

// TestShippedUnits loads units as Kubernetes distributions have them.
func TestShippedUnits(t *testing.T) {
	files := map[string]string{}
	// As files, which Bazel shows to tests as links.
	if err := fs.WalkDir(os.DirFS("testdata/root"), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile("testdata/root/" + path)
		files["/"+path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	units := Load(root(t, files), "multi-user.target")
	got, err := json.MarshalIndent(units, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const golden = "testdata/units.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("run the test with -update and look at the difference; got\n%s", got)
	}
	back, err := Decode(bytes.NewReader(want))
	if err != nil || !reflect.DeepEqual(back, units) {
		t.Errorf("round trip: %+v, %v", back, err)
	}
}

// root makes a tree of files. A content of "-> target" makes a link; short names
// are in the most or least important directory.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if rest, ok := strings.CutPrefix(name, "usr:"); ok {
			name = Dirs[3] + "/" + rest
		} else if !strings.HasPrefix(name, "/") {
			name = Dirs[0] + "/" + name
		}
		path := dir + name
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads units and returns them by name.
func load(t *testing.T, files map[string]string, names ...string) map[string]Unit {
	t.Helper()
	all := map[string]Unit{}
	last := ""
	for _, u := range Load(root(t, files), names...) {
		if u.Name <= last {
			t.Errorf("%s is behind %s", u.Name, last)
		}
		last = u.Name
		all[u.Name] = u
	}
	return all
}

const run = "[Service]\nExecStart=/bin/true\n"

func TestPrecedence(t *testing.T) {
	u := load(t, map[string]string{
		"a.service":                         "[Unit]\nDescription=etc\n" + run,
		"/run/systemd/system/a.service":     "[Unit]\nDescription=run\n" + run,
		"usr:a.service":                     "[Unit]\nDescription=usr\n" + run,
		"a.service.d/20.conf":               "[Service]\nEnvironment=X=20\n",
		"usr:a.service.d/10.conf":           "[Service]\nEnvironment=X=10\n",
		"usr:a.service.d/20.conf":           "[Service]\nEnvironment=X=hidden\n",
		"usr:a.service.d/30.conf":           "[Service]\nEnvironment=X=30\n",
		"a.service.d/30.conf":               "-> /dev/null",
		"usr:service.d/15.conf":             "[Service]\nEnvironment=X=15\n",
		"usr:a.service.d/README":            "[Service]\nEnvironment=X=README\n",
		"/usr/local/lib/systemd/system/b":   "",
		"usr:a-.service.d/40.conf":          "[Service]\nEnvironment=X=other\n",
		"/run/systemd/system/service.d/n":   "",
		"/usr/lib/systemd/system/.d/x.conf": "[Service]\nEnvironment=X=nobody\n",
	}, "a.service")["a.service"]
	if u.Description != "etc" || !slices.Equal(u.Service.Environment, []string{"X=10", "X=15", "X=20"}) || u.Problems != nil {
		t.Errorf("%+v %+v", u, u.Service)
	}
}

// TestRepair has a drop-in that replaces what keeps a unit from running.
func TestRepair(t *testing.T) {
	u := load(t, map[string]string{
		"usr:a.service":      "[Service]\nUser=a\nGroup=a\nExecStartPre=/pre %H\nExecStart=/a %H\n",
		"a.service.d/1.conf": "[Service]\nUser=root\nGroup=\nExecStartPre=\nExecStart=\nExecStart=/b\n",
	}, "a.service")["a.service"]
	if u.Error != "" || u.Service.ExecStartPre != nil || len(u.Service.ExecStart) != 1 || u.Service.ExecStart[0].Path != "/b" {
		t.Errorf("%+v %+v", u, u.Service)
	}
}

func TestDashedDropIns(t *testing.T) {
	u := load(t, map[string]string{
		"a-b-c.service":            run,
		"a-.service.d/10.conf":     "[Service]\nEnvironment=X=less\nTasksMax=1\n",
		"a-b-.service.d/10.conf":   "[Service]\nEnvironment=X=more\n",
		"a-b-c-.service.d/10.conf": "[Service]\nEnvironment=X=other\n",
	}, "a-b-c.service")["a-b-c.service"]
	if !slices.Equal(u.Service.Environment, []string{"X=more"}) || u.Service.TasksMax != "" {
		t.Errorf("%+v", u.Service)
	}
}

func TestLinks(t *testing.T) {
	units := load(t, map[string]string{
		"usr:all.target":                   "[Unit]\n",
		"all.target.wants/a.service":       "-> /usr/lib/systemd/system/a.service",
		"all.target.wants/gone.service":    "-> /usr/lib/systemd/system/gone.service",
		"all.target.wants/off.service":     "-> /usr/lib/systemd/system/off.service",
		"usr:all.target.wants/not.service": "-> ../not.service",
		"all.target.wants/not.service":     "-> /dev/null",
		"all.target.wants/tty@1.service":   "-> /usr/lib/systemd/system/tty@.service",
		"all.target.wants/x.timer":         "-> /usr/lib/systemd/system/x.timer",
		"all.target.wants/junk":            "-> /dev/zero",
		"all.target.requires/r.service":    "-> ../r.service",
		"usr:a.service":                    run, "usr:not.service": run, "usr:off.service": run, "usr:x.timer": "[Timer]\n",
		"off.service":      "-> /dev/null",
		"r.service":        "-> /opt/r.service",
		"/opt/r.service":   "[Unit]\nDescription=linked\n" + run,
		"usr:tty@.service": "[Unit]\nDescription=%n %N %p %i %%\n" + run,
	}, "all.target")
	all := units["all.target"]
	if !slices.Equal(all.Wants, []string{"a.service", "tty@1.service"}) ||
		!slices.Equal(all.Requires, []string{"r.service"}) ||
		!slices.Equal(all.After, []string{"a.service", "r.service", "tty@1.service"}) || all.Error != "" {
		t.Errorf("%+v", all)
	}
	if want := []string{
		`/etc/systemd/system/all.target.wants/junk: "junk" is not a unit's name, ignored`,
		"it wants x.timer, which is not started: .timer units are not supported",
	}; !slices.Equal(all.Problems, want) {
		t.Errorf("problems: %q", all.Problems)
	}
	if got := units["tty@1.service"].Description; got != "tty@1.service tty@1 tty 1 %" {
		t.Errorf("description: %q", got)
	}
	if got := units["r.service"].Description; got != "linked" || len(units) != 4 {
		t.Errorf("%q of %d units", got, len(units))
	}
}

func TestAliases(t *testing.T) {
	units := load(t, map[string]string{
		"usr:real.service":          run,
		"usr:a.service":             "-> real.service",
		"b.service":                 "-> /etc/systemd/system/a.service",
		"b.service.d/1.conf":        "[Service]\nEnvironment=B=1\n",
		"loop.service":              "-> pool.service",
		"pool.service":              "-> loop.service",
		"usr:t@.service":            "[Unit]\nAfter=b.service\nRequires=a.service\n" + run,
		"usr:s@.service":            "-> t@.service",
		"usr:t@.service.d/1.conf":   "[Service]\nEnvironment=T=%I\n",
		"usr:t@x.service.d/2.conf":  "[Service]\nEnvironment=TX=1\n",
		"usr:wrong.service":         "-> x.target",
		"usr:real.service.wants/ok": "-> ok",
	}, "b.service", "real.service", `s@x\x20y.service`, "t@x.service", "loop.service", "wrong.service", "t@.service")
	if got := units["real.service"].Service.Environment; !slices.Equal(got, []string{"B=1"}) {
		t.Errorf("%q", got)
	}
	if got := units[`t@x\x20y.service`]; !slices.Equal(got.After, []string{"real.service"}) || !slices.Equal(got.Requires, got.After) ||
		!slices.Equal(got.Service.Environment, []string{"T=x y"}) {
		t.Errorf("%+v %+v", got, got.Service)
	}
	if got := units["t@x.service"].Service.Environment; !slices.Equal(got, []string{"T=x", "TX=1"}) {
		t.Errorf("%q", got)
	}
	for name, want := range map[string]string{
		"loop.service":  "loop.service is an alias of itself",
		"wrong.service": "reading /usr/lib/systemd/system/wrong.service: no such file or directory",
		"t@.service":    "it is a template, of which only instances run",
	} {
		if units[name].Error != want {
			t.Errorf("%s: %q", name, units[name].Error)
		}
	}
}

func TestDependencies(t *testing.T) {
	units := load(t, map[string]string{
		"a.service": "[Unit]\nRequires=basic.target system.slice b.service\nWants=gone.service d.service\n" +
			"After=network.target gone.service c.service c.service\nBefore=b.service shutdown.target\n" +
			"Conflicts=shutdown.target d.service\n" + run,
		"b.service":      "[Unit]\nBindsTo=c.service\n" + run,
		"c.service":      "[Unit]\nRequires=gone.service\nWants=e.service\n" + run,
		"d.service":      "[Unit]\nRequires=x.socket\nAfter=t.target\n" + run,
		"e.service":      "[Unit]\nRequires=off.service t.target\n" + run,
		"off.service":    "",
		"x.socket":       "[Socket]\n",
		"t.target":       "[Unit]\nWants=a.service d.service\n",
		"unused.service": run,
	}, "a.service", "nowhere.service")
	for name, want := range map[string]Unit{
		"a.service": {Requires: []string{"b.service"}, Wants: []string{"d.service"}, After: []string{"c.service"},
			Problems: []string{"it conflicts with d.service, which is started too: Conflicts= is not supported"}},
		"b.service": {Requires: []string{"c.service"}, After: []string{"a.service"},
			Problems: []string{`/etc/systemd/system/b.service:2: BindsTo="c.service" is taken as Requires=`}},
		"c.service":       {Wants: []string{"e.service"}, Error: "it requires gone.service: there is no unit file gone.service"},
		"d.service":       {After: []string{"t.target"}, Error: "it requires x.socket: .socket units are not supported"},
		"e.service":       {Requires: []string{"t.target"}, Error: "it requires off.service: /etc/systemd/system/off.service masks it"},
		"t.target":        {Wants: []string{"a.service", "d.service"}, After: []string{"a.service"}},
		"nowhere.service": {Error: "there is no unit file nowhere.service"},
	} {
		got, ok := units[name]
		got.Service, got.Name = nil, ""
		if !ok || !slices.Equal(got.Requires, want.Requires) || !slices.Equal(got.Wants, want.Wants) ||
			!slices.Equal(got.After, want.After) || !slices.Equal(got.Problems, want.Problems) || got.Error != want.Error {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if len(units) != 7 {
		t.Errorf("%d units", len(units))
	}
}

func TestCycles(t *testing.T) {
	service := func(unit string) string { return "[Unit]\n" + unit + "\n" + run }
	units := load(t, map[string]string{
		"all.target": "[Unit]\nWants=a.service x.service broken.service\nAfter=broken.service\n",
		"a.service":  service("After=b.service\nWants=b.service"),
		"b.service":  service("After=c.service\nRequires=c.service"),
		"c.service":  service("After=a.service"),
		"x.service":  service("After=mid.target\nWants=mid.target"),
		"mid.target": "[Unit]\nAfter=x.service\n",
		// A unit that can not run is in nobody's way.
		"broken.service": "[Unit]\nAfter=all.target\n[Service]\nType=forking\nExecStart=/bin/true\n",
		"self.service":   service("After=self.service\nRequires=self.service\nBefore=self.service"),
	}, "all.target", "self.service")
	errors := map[string]string{}
	for name, u := range units {
		if u.Error != "" {
			errors[name] = u.Error
		}
	}
	if want := map[string]string{
		"b.service":      "its order is a cycle: b.service after c.service after a.service after b.service",
		"x.service":      "its order is a cycle: x.service after mid.target after x.service",
		"broken.service": "Type=forking is not supported: let the program stay in the foreground",
	}; !reflect.DeepEqual(errors, want) {
		t.Errorf("%q", errors)
	}
}

// TestHostileTrees wants as much as files can ask for.
func TestHostileTrees(t *testing.T) {
	files := map[string]string{
		"m@.service":   "[Unit]\nWants=m@%ia.service m@%ib.service\n" + run,
		"long.service": run + strings.Repeat("#\n", longest/2),
		"many.service": run + strings.Repeat("junk\n", 5000),
	}
	dir := root(t, files)
	if err := os.Mkdir(dir+Dirs[0]+"/dir.service", 0o755); err != nil {
		t.Fatal(err)
	}
	units := Load(dir, "m@x.service", "long.service", "many.service", "dir.service")
	if len(units) != mostUnits {
		t.Errorf("%d units", len(units))
	}
	var text bytes.Buffer
	if err := Encode(&text, units); err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(&text); err != nil {
		t.Error(err)
	}
	for _, u := range units {
		switch u.Name {
		case "long.service":
			if u.Error != "reading /etc/systemd/system/long.service: it has more than 65536 bytes" {
				t.Error(u.Error)
			}
		case "dir.service":
			if u.Error != "reading /etc/systemd/system/dir.service: it is not a file" {
				t.Error(u.Error)
			}
		case "many.service":
			if n := len(u.Problems); n != mostProblems+1 || u.Problems[n-1] != "there are 4968 more problems" || u.Error != "" {
				t.Errorf("%d problems, %q", n, u.Error)
			}
		}
	}
}

// TestTooMuch has units that are more than PID 1 reads: too many that are large, and one that is too large alone.
func TestTooMuch(t *testing.T) {
	variables := func(size int) string { return "[Service]\nEnvironment=X=" + strings.Repeat("<", size) + "\n" }
	files := map[string]string{
		"m@.service":   "[Unit]\nWants=m@%ia.service m@%ib.service\n" + run + variables(2000),
		"a.target":     "[Unit]\nWants=m@x.service z.service\n",
		"huge.service": run,
		"z.service":    run + variables(10),
	}
	for i := range 17 {
		files[fmt.Sprintf("huge.service.d/%d.conf", i)] = variables(60000)
	}
	units := Load(root(t, files), "a.target", "huge.service")
	var text bytes.Buffer
	if err := Encode(&text, units); err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(&text); err != nil || len(got) != mostUnits {
		t.Fatalf("%d units, %v", len(got), err)
	}
	left := 0
	for _, u := range units {
		switch {
		case u.Error == "":
			left++
		case u.Name == "a.target", u.Name == "z.service", !strings.HasSuffix(u.Error, "which is too much: all units together may take 1024 KiB"):
			t.Errorf("%s does not run: %s", u.Name, u.Error)
		}
		if u.Name == "huge.service" && u.Error == "" {
			t.Error("a unit that is too large runs")
		}
	}
	if left < MaxJSON/20000 {
		t.Errorf("only %d units run", left)
	}
}

func TestNoUnits(t *testing.T) {
	if got := Load(t.TempDir()); got != nil {
		t.Errorf("%v", got)
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		Load("testdata/root", "multi-user.target")
	}
}
