package logd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/ember-os/ember/os/logs"
	"github.com/ember-os/ember/os/output"
	"github.com/ember-os/ember/os/syslog"
	"golang.org/x/sys/unix"
)

const limit = 30 * time.Second // for whatever a test waits for

// machine is what the daemon finds in the tests. Its /dev/kmsg is a FIFO.
type machine struct {
	daemon
	kernel *os.File
	logged bytes.Buffer // by the daemon; to be read when it has ended
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{daemon: daemon{output: filepath.Join(dir, "output"), kmsg: filepath.Join(dir, "kmsg"), store: filepath.Join(dir, "log"),
		console: filepath.Join(dir, "console"), storeLimit: logs.Limit, secrets: []string{"hunter2"}, level: slog.LevelInfo}}
	m.log = logline.New(&m.logged, slog.LevelInfo)
	m.kernel = fifo(t, m.kmsg)
	return m
}

// fifo makes a FIFO and holds it.
func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func (m *machine) unit(t *testing.T, name string, console bool) *os.File {
	t.Helper()
	file, err := output.Open(m.output, name, console)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// start runs the daemon and waits until it is ready. The function that it returns
// ends it.
func (m *machine) start(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	m.ready = func() { close(ready) }
	d := m.daemon
	go func() { ended <- d.run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	case <-time.After(limit):
		t.Fatal("it is never ready")
	}
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

var stamp = regexp.MustCompile(`(?m)^\[[0-9]+\.[0-9]{6}\] `)

// stored is what a unit's file holds, without the stamps.
func (m *machine) stored(unit string) string {
	text, _ := os.ReadFile(filepath.Join(m.store, unit))
	return stamp.ReplaceAllString(string(text), "")
}

func (m *machine) waitStored(t *testing.T, unit, want string) {
	t.Helper()
	for end := time.Now().Add(limit); m.stored(unit) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the log of %s is\n%s, want\n%s", unit, m.stored(unit), want)
		}
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	early := m.unit(t, "early.service", false)
	fmt.Fprint(early, "before there is a daemon\n<3>password=hunter2\nhalf")
	stop := m.start(t)
	fmt.Fprint(early, " a line\n\n")
	m.waitStored(t, "early.service", "<6>before there is a daemon\n<3>password=***\n<6>half a line\n")

	late := m.unit(t, "late.service", false)
	fmt.Fprint(late, "<4>password: hunt")
	m.waitStored(t, "late.service", "<4>password: \n") // what is idle is shown, but no secret
	fmt.Fprint(late, "er2!\n")
	m.waitStored(t, "late.service", "<4>password: \n<4>***!\n")
	stop()

	// What is printed now waits for the next daemon, or the end of this one.
	fmt.Fprint(early, "no daemon\n")
	stop = m.start(t)
	fmt.Fprint(late, "last words\nwithout end")
	stop()
	m.waitStored(t, "early.service", "<6>before there is a daemon\n<3>password=***\n<6>half a line\n<6>no daemon\n")
	m.waitStored(t, "late.service", "<4>password: \n<4>***!\n<6>last words\n<6>without end\n")
	if m.logged.Len() > 0 {
		t.Errorf("the daemon logged %s", &m.logged)
	}
}

func TestLongLine(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start(t)
	w := m.unit(t, "a.service", false)
	x := strings.Repeat("x", maxText)
	fmt.Fprint(w, "<3>", x, x, "end\n<5>next\n")
	stop()
	want := "<3>" + x[:maxText-3] + "\n<3>" + x + "\n<3>xxxend\n<5>next\n"
	if got := m.stored("a.service"); got != want {
		t.Errorf("stored %d bytes that end with %q", len(got), got[max(0, len(got)-30):])
	}
}

// TestLineGrows has lines that are longer in the log than they were printed.
func TestLineGrows(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start(t)
	w := m.unit(t, "a.service", false)
	tabs := strings.Repeat("\t", maxText-len("hunter2"))
	fmt.Fprint(w, tabs, "hunter2\n", tabs, "hunter2 end\n")
	stop()
	spaces := strings.Repeat("    ", len(tabs))
	if got, want := m.stored("a.service"), "<6>"+spaces+"***\n<6>"+spaces+"***\n<6> end\n"; got != want {
		t.Errorf("stored %d bytes that end with %q, want %d", len(got), got[max(0, len(got)-30):], len(want))
	}
}

func TestKernel(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start(t)
	fmt.Fprint(m.kernel, "5,0,0,-;Linux version 7\n6,1,1500000,-;Kernel command line: registry_password=hunter2 quiet\n SUBSYSTEM=none\n")
	fmt.Fprint(m.kernel, "4,3,1600000,-;two\\x0alines\n"+"6,4,1700000,-;", strings.Repeat("x", cutText), " registry_password=hunt\n")
	want := "<5>Linux version 7\n<6>Kernel command line: registry_password=*** quiet\n" +
		"<4>kernel messages missing here: 1, which the kernel had no room for\n<4>two\n<4>lines\n<6>" + strings.Repeat("x", cutText) + " registry_password=***\n"
	m.waitStored(t, logs.Kernel, want)
	if text, _ := os.ReadFile(filepath.Join(m.store, logs.Kernel)); !bytes.HasPrefix(text, []byte("[0.000000] <5>Linux version 7\n[1.500000] <6>Kernel")) {
		t.Errorf("stored %.100q", text)
	}
	stop()
	// The kernel shows everything to who opens its log.
	fmt.Fprint(m.kernel, "5,0,0,-;Linux version 7\n4,3,1600000,-;two\\x0alines\n3,5,1800000,-;new\n")
	m.start(t)()
	m.waitStored(t, logs.Kernel, want+"<3>new\n")
}

func TestConsole(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	stop := m.start(t)
	network, quiet, init := m.unit(t, "ember-network.service", true), m.unit(t, "a.service", false), m.unit(t, output.Init, false)
	fmt.Fprint(network, "nobody reads this\n")
	m.waitStored(t, "ember-network.service", "<6>nobody reads this\n")
	console := fifo(t, m.console)
	fmt.Fprint(quiet, "<0>not for the console\n")
	fmt.Fprint(init, "<0>not twice\n")
	fmt.Fprint(network, "<7>detail\n<6>eth0: lease\n<4>eth1: hunter2\n", strings.Repeat("x", 2*consoleLine), "\n<3>end\n")
	stop()
	buf := make([]byte, 64<<10)
	n, err := console.Read(buf)
	want := "1 lines left out\nnetwork: eth0: lease\nnetwork: warning: eth1: ***\nnetwork: " + strings.Repeat("x", consoleLine-1-len("network: ")) + "\nnetwork: error: end\n"
	if got := string(buf[:n]); got != want || err != nil {
		t.Errorf("the console shows\n%s%v, want\n%s", got, err, want)
	}
	if m.stored(output.Init) != "<0>not twice\n" {
		t.Errorf("stored %q", m.stored(output.Init))
	}
}

// TestConsoleFull has a console that takes nothing for a while.
func TestConsoleFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "console")
	console := fifo(t, path)
	c := consoles{path: path, level: slog.LevelInfo}
	e := logs.Entry{Unit: "a.service", Line: logline.Line{Severity: logline.Info, Text: strings.Repeat("x", consoleLine)}}
	for c.left < 3 {
		c.print(e)
	}
	buf := make([]byte, 1<<20)
	if _, err := console.Read(buf); err != nil {
		t.Fatal(err)
	}
	e.Text = "end"
	for range 2 {
		c.print(e)
	}
	n, err := console.Read(buf)
	if got, want := string(buf[:n]), "3 lines left out\na: end\na: end\n"; got != want || err != nil {
		t.Errorf("the console shows %q, %v, want %q", got, err, want)
	}
}

// TestSyslog looks at what leaves the machine, up to the last words.
func TestSyslog(t *testing.T) {
	t.Parallel()
	collector, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer collector.Close()
	m := newMachine(t)
	m.sender = syslog.New(syslog.Collector{Host: "127.0.0.1", Port: collector.LocalAddr().(*net.UDPAddr).Port, Transport: syslog.UDP},
		func() string { return "node7" }, m.log)
	stop := m.start(t)
	unit, init := m.unit(t, "containerd.service", false), m.unit(t, output.Init, false)
	fmt.Fprint(m.kernel, "4,0,0,-;hunter2\n")
	fmt.Fprint(unit, "<3>hunter2\n")
	fmt.Fprint(init, "stopping\n")
	stop()
	got := map[string]bool{}
	body := regexp.MustCompile(`^(<[0-9]+>1) [^ ]+Z (node7 .*) \[timeQuality [^]]*\](.*)`)
	for range 3 {
		buf := make([]byte, 2048)
		collector.SetReadDeadline(time.Now().Add(limit))
		n, _, err := collector.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		got[body.ReplaceAllString(string(buf[:n]), "$1 $2$3")] = true
	}
	for _, want := range []string{"<4>1 node7 kernel - - ***", "<27>1 node7 containerd - - ***", "<30>1 node7 ember - - stopping"} {
		if !got[want] {
			t.Errorf("%q is not among %v", want, got)
		}
	}
}

// TestNoRoom has a store that can not take a unit for a while.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	console := fifo(t, m.console)
	stop := m.start(t)
	w := m.unit(t, "a.service", true)
	obstacle := filepath.Join(m.store, "a.service")
	if err := os.Mkdir(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "one\ntwo\n")
	shown := bufio.NewReader(console) // what is shown was taken
	for _, want := range []string{"a: one\n", "a: two\n"} {
		if got, err := shown.ReadString('\n'); got != want || err != nil {
			t.Fatalf("the console shows %q, %v", got, err)
		}
	}
	if err := os.Remove(obstacle); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "three\n")
	stop()
	if got := m.stored("a.service"); got != "<4>lines missing here: 2, for which there was no room\n<6>three\n" {
		t.Errorf("stored %q", got)
	}
	if got := m.logged.String(); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "<3>the log has gaps from now on") {
		t.Errorf("logged %q", got)
	}
}

func TestWithoutKernel(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.kmsg += ".absent"
	m.start(t)()
	if !strings.Contains(m.logged.String(), "the kernel's messages are not logged") {
		t.Errorf("logged %q", &m.logged)
	}
}

func TestNewDaemon(t *testing.T) {
	config, errs := cmdline.Parse("ember.log=warn syslog_host=10.0.0.9 registry_password=hunter2")
	d := newDaemon(config)
	if errs != nil || d.level != slog.LevelWarn || d.sender == nil || fmt.Sprint(d.secrets) != "[hunter2]" {
		t.Errorf("%+v, %v", d, errs)
	}
	if config, _ = cmdline.Parse(""); newDaemon(config).sender != nil {
		t.Error("it sends to nobody")
	}
}
