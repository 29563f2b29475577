package os_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/service"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// enabled is unit files that multi-user.target wants, with other files beside them.
func enabled(units map[string]string, others ...vm.File) []vm.File {
	const dir = "/etc/systemd/system/"
	files := others
	for name, text := range units {
		files = append(files, vm.File{Path: dir + name, Data: text},
			vm.File{Path: dir + "multi-user.target.wants/" + name, Target: "../" + name})
	}
	return files
}

// statuses reads the state of all units through the shell on the console.
func statuses(t *testing.T, m *vmtest.Machine) map[string]service.Status {
	t.Helper()
	var all []service.Status
	eventually(t, "the states of services", func() bool {
		// In one piece of plain characters: the kernel may print something in between.
		return json.Unmarshal([]byte(ask(t, m, `tr -d '\n' </run/ember/services.json; echo`)), &all) == nil
	})
	byName := map[string]service.Status{}
	for _, s := range all {
		byName[s.Name] = s
	}
	return byName
}

// eventually waits for a condition, for as long as a slow machine may need.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestServices has every kind of service that does not do what it should.
func TestServices(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Append = "ember.debug=shell HTTPS_PROXY=http://proxy.example:3128"
	c.Overlay = enabled(map[string]string{
		"never.service":   "[Service]\nType=notify\nExecStart=sleep 1001\nTimeoutStartSec=2\n",
		"forks.service":   "[Service]\nExecStart=sh -c 'sleep 1002 &'\nRestart=no\n",
		"crash.service":   "[Service]\nExecStart=false\nRestart=always\n[Unit]\nStartLimitIntervalSec=1h\n",
		"needs.service":   "[Unit]\nRequires=crash.service never.service\nAfter=never.service crash.service\n[Service]\nExecStart=sleep 1003\n",
		"good.service":    "[Unit]\nAfter=never.service\n[Service]\nExecStart=sleep 1004\nProtectHome=yes\n",
		"oneshot.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nEnvironmentFile=/etc/default/oneshot\nExecStart=sh -c 'echo \"<4>$WORD $$HTTPS_PROXY $$https_proxy\"; cat /proc/self/cgroup'\n",
	}, vm.File{Path: "etc/default/oneshot", Data: "WORD='two words'\n"})
	m := vmtest.Start(t, c)
	m.Line(func(line string) bool {
		return strings.Contains(line, "good.service:") && strings.Contains(line, "ProtectHome= is not supported")
	})
	await(m, stage.Ready)

	for name, want := range map[string]struct {
		state  service.State
		reason string
	}{
		"never.service":   {service.Failed, "not ready after 2s"},
		"forks.service":   {service.Dead, ""},
		"crash.service":   {service.Failed, "limit"},
		"needs.service":   {service.Failed, "dependency failed"},
		"good.service":    {service.Active, ""},
		"oneshot.service": {service.Exited, ""},
	} {
		var last service.Status
		eventually(t, name+" to be "+string(want.state), func() bool {
			last = statuses(t, m)[name]
			return last.State == want.state
		})
		if !strings.Contains(last.Reason+last.LastExit, want.reason) {
			t.Errorf("%s is %+v, want the reason %q", name, last, want.reason)
		}
	}
	for _, test := range []struct{ command, want string }{
		{"ps | grep -c '[s]leep 100[123]'", "0"},
		{"ps | grep -c '[s]leep 1004'", "1"},
		{"cat /proc/$(ps | sed -n 's/^ *\\([0-9]*\\) .*[s]leep 1004/\\1/p')/cgroup", "0::/system.slice/good.service"},
		{"ls /sys/fs/cgroup/system.slice | grep -c never", "0"},
		{"ember log oneshot | grep -c 'two words http://proxy.example:3128 http://proxy.example:3128'", "1"},
		{"ember log oneshot | grep -c 0::/system.slice/oneshot.service", "1"},
		{"ember services | grep -c 'ProtectHome= is not supported'", "1"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
}

// TestStubborn stops a machine whose services do all they can to stay. The log is still sent to its end.
func TestStubborn(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	l.Start(lab.Rsyslogd)
	c := config(t)
	c.Append = "ember.debug=shell syslog_host=10.0.1.1 ember.syslog=tcp"
	c.NICs = []vm.NIC{l.Port("boot")}
	c.Overlay = enabled(map[string]string{
		"deaf.service":   "[Service]\nExecStart=sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done'\nTimeoutStopSec=2\nRestart=always\n",
		"deafer.service": "[Service]\nExecStart=sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done'\nTimeoutStopSec=infinity\nRestart=always\n",
		"last.service":   "[Unit]\nAfter=deaf.service\n[Service]\nExecStart=sh -c 'trap \"echo goodbye >/dev/console; exit 0\" TERM; echo armed >/dev/console; while :; do sleep 1; done'\n",
	})
	m := vmtest.Start(t, c)
	await(m, stage.Ready)
	m.Line(func(line string) bool { return strings.Contains(line, "armed") })
	l.Message(func(m lab.Message) bool { return strings.Contains(m.Text, "stage=ready") })
	if err := m.Send("poweroff\n"); err != nil {
		t.Fatal(err)
	}
	stopping := await(m, stage.Stopping)
	m.Line(func(line string) bool { return strings.Contains(line, "goodbye") })
	var stopped stage.Line
	m.Line(func(line string) bool {
		if strings.Contains(line, "stopping takes longer than") {
			t.Error("the machine is stopped by force")
		}
		stopped, _ = stage.Parse(line)
		return stopped.Name == stage.Stopped
	})
	// As docs/architecture.md has it, but for disks: 2 s, 30 s, 6 s, 3 s, 15 s, 5 s and 5 s.
	if took := stopped.T - stopping.T; took > 66*time.Second {
		t.Errorf("the machine stopped in %v", took)
	}
	if end := m.End(); end.Reason != vm.Poweroff {
		t.Errorf("the machine ended by %s, want a power-off", end.Reason)
	}
	l.Message(func(m lab.Message) bool { return m.App == "ember" && strings.HasPrefix(m.Text, "deafer: stopped") })
}
