package os_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestSyslog has a collector that comes up late, and secrets that it must not see.
func TestSyslog(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			const (
				secret  = "hunter2,with%comma"
				secrets = " registry_password=" + secret + " HTTPS-PROXY=http://user:hunter2@proxy.example:3128" +
					" ember.mirror=docker.io=https://user:hunter2@mirror.example ember.lkg_url=https://user:hunter2@boot.example/uki.efi"
				count = 2000
			)
			l := startLab(t, lan("boot", "1"))
			c := config(t)
			c.Append = "ember.debug=shell registry_username=admin" + secrets + " syslog_host=10.0.1.1 ember.syslog=" + transport
			c.Overlay = enabled(map[string]string{
				"talker.service":  "[Service]\nType=oneshot\nExecStart=sh -c 'echo \"<3>all is lost\"; echo plain; cat /proc/cmdline'\n",
				"counter.service": fmt.Sprintf("[Service]\nType=oneshot\nExecStart=seq %d\n", count),
			}, vm.File{Path: "etc/ssl/ember.d/lab.pem", Data: string(l.CA())})
			c.NICs = []vm.NIC{l.Port("boot")}
			var console bytes.Buffer
			c.Console = &console
			m := vmtest.Start(t, c)
			await(m, stage.Network)
			eventually(t, "all lines to be in the log", func() bool {
				return ask(t, m, "ember log counter | wc -l") == strconv.Itoa(count)
			})
			time.Sleep(5 * time.Second) // nobody listens yet
			l.Start(lab.Rsyslogd)

			first := l.Message(func(m lab.Message) bool { return m.App == "kernel" && strings.Contains(m.Text, "Linux version") })
			if first.Facility != "kern" || first.Severity != "notice" || !strings.HasPrefix(first.Host, "ember-") {
				t.Errorf("the kernel's first message is %+v", first)
			}
			if m := l.Message(func(m lab.Message) bool { return m.Text == "all is lost" }); m.App != "talker" || m.Severity != "err" {
				t.Errorf("a service's message is %+v", m)
			}
			if m := l.Message(func(m lab.Message) bool { return strings.Contains(m.Text, "stage=start") }); m.App != "ember" || m.Severity != "info" {
				t.Errorf("init's first message is %+v", m)
			}
			l.Message(func(m lab.Message) bool {
				return m.App == "talker" && strings.Contains(m.Text, "registry_password=***")
			})
			l.Message(func(m lab.Message) bool { return strings.Contains(m.Text, "stage=time") })
			for _, app := range []string{"ember-network", "ember-trust"} {
				l.Message(func(m lab.Message) bool { return m.App == app })
			}
			if transport != "udp" { // which may lose some
				checkCount(t, l, count)
			}
			for _, m := range l.Messages() {
				if strings.Contains(m.Raw, "hunter2") {
					t.Errorf("the password arrived in %q", m.Raw)
				}
			}
			if got := ask(t, m, "{ dmesg; ember log; ember status; } | grep -c hunt''er2"); got != "0" {
				t.Errorf("the password is in %s lines of the machine's logs", got)
			}
			m.Close()
			if bytes.Contains(console.Bytes(), []byte("hunter2")) {
				t.Error("the password is on the console")
			}
		})
	}
}

// checkCount looks for the numbers that counter.service has printed: all, in order. Some may have come twice.
func checkCount(t *testing.T, l *lab.Lab, count int) {
	t.Helper()
	l.Message(func(m lab.Message) bool { return m.App == "counter" && m.Text == strconv.Itoa(count) })
	next := 1
	for _, m := range l.Messages() {
		n, err := strconv.Atoi(m.Text)
		switch {
		case m.App != "counter" || err == nil && n < next:
		case err != nil || n > next:
			t.Fatalf("%q arrived where %d is missing", m.Text, next)
		default:
			next++
		}
	}
}
