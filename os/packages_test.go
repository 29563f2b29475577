package os_test

import (
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestPackages runs the tests of packages in the system that these are for, where they have what a build's machine may
// lack: cgroups of their own, with every controller.
func TestPackages(t *testing.T) {
	c := config(t)
	c.Append = "ember.debug=shell"
	programs := []string{"cgroup", "service"}
	for _, name := range programs {
		program := string(readFile(t, vmtest.File(t, strings.ToUpper(name)+"_TEST")))
		c.Overlay = append(c.Overlay, vm.File{Path: "opt/" + name, Mode: 0o755, Data: program})
	}
	m := vmtest.Start(t, c)
	await(m, stage.Ready)
	for _, name := range programs {
		if result := ask(t, m, "/opt/"+name+" -test.v >/tmp/"+name+" 2>&1; tail -n 1 /tmp/"+name); result != "PASS" {
			t.Errorf("package %s: %s; more is at the end of the console", name, result)
			if err := m.Send("cat /tmp/" + name + "; echo sh''own\n"); err != nil {
				t.Fatal(err)
			}
			m.Line(func(line string) bool { return strings.Contains(line, "shown") })
		}
		// Without cgroups there are sessions, which some tests are not about.
		if skipped := ask(t, m, "grep -e '--- SKIP' /tmp/"+name+" | grep -v /sessions"); skipped != "" {
			t.Errorf("package %s leaves out a test: %s", name, skipped)
		}
		if ran := ask(t, m, "grep -c -e '--- PASS' /tmp/"+name); ran == "0" {
			t.Errorf("package %s has no tests", name)
		}
	}
}
