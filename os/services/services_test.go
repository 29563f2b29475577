package services

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/service"
)

// file makes a manager's file, with a directory that looks like a's cgroup.
func file(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	all := []service.Status{
		{Name: "a.service", State: service.Active, PID: 17, Cgroup: dir, Text: "link=eth0"},
		{Name: "all.target", State: service.Active, Units: []string{"a.service", "b.service", "missing.service"}},
		{Name: "b.service", State: service.Failed, Restarts: 1, LastExit: "exit status 3", Reason: "start limit hit", Units: []string{"c.service"},
			Problems: []string{"b.service:3: FooBar= is not supported"}},
		{Name: "c.service", State: service.Dead, Units: []string{"b.service"}},
		{Name: "x.service", State: service.Waiting, Units: []string{"y.service"}},
		{Name: "y.service", State: service.Waiting, Units: []string{"x.service"}},
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, service.File)
	for file, text := range map[string]string{path: string(text), filepath.Join(dir, "memory.current"): "1572864\n", filepath.Join(dir, "pids.current"): "3\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestTree(t *testing.T) {
	var b bytes.Buffer
	statuses, err := service.ReadStatuses(file(t))
	if err != nil {
		t.Fatal(err)
	}
	var units []unit
	for _, s := range statuses {
		units = append(units, unit{Status: s})
	}
	units[0].Memory, units[0].Tasks = 3<<19, 3
	if err := (printer{now: 65 * time.Second}).print(&b, tree(units)); err != nil {
		t.Fatal(err)
	}
	want := `all.target     active        1m5s
  a.service    active        1m5s  pid 17, 1.5 MiB, 3 tasks
      says: link=eth0
  b.service    failed        1m5s  1 restart, last ended with exit status 3
      start limit hit
      problem: b.service:3: FooBar= is not supported
    c.service  dead          1m5s
x.service      waiting       1m5s
  y.service    waiting       1m5s
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestRun(t *testing.T) {
	path := file(t)
	var b bytes.Buffer
	if err := run(&b, path, false, true, []string{"b", "a.service"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"b.service  \x1b[31mfailed    \x1b[m  ", "\na.service  \x1b[32mactive    \x1b[m  "} {
		if !strings.Contains("\n"+b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if !strings.Contains(b.String(), "1.5 MiB, 3 tasks") {
		t.Errorf("no usage in\n%s", b.String())
	}

	b.Reset()
	if err := run(&b, path, true, false, nil); err != nil {
		t.Fatal(err)
	}
	var units []unit
	if err := json.Unmarshal(b.Bytes(), &units); err != nil || len(units) != 6 || units[0].Tasks != 3 || units[0].State != service.Active {
		t.Errorf("JSON: %v\n%s", err, b.String())
	}

	if err := run(&b, path, false, false, []string{"nothing"}); err == nil || err.Error() != `there is no unit "nothing"` {
		t.Errorf("a name that is not known: %v", err)
	}
	if err := run(&b, filepath.Join(t.TempDir(), "nothing"), false, false, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1999 * time.Millisecond:        "1s",
		59*time.Minute + 3*time.Second: "59m3s",
		2*time.Hour + 5*time.Minute:    "2h5m",
		49 * time.Hour:                 "2d1h",
	} {
		if got := age(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
}
