package os_test

import (
	"crypto/tls"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	hub   = "10.0.1.1:5443" // a registry in the LAN boot
	image = hub + "/busybox:v1"
)

// serveImages has a registry with TLS for everyone, which holds image: busybox, to be given commands.
func serveImages(t testing.TB, l *lab.Lab) *registry.Registry {
	t.Helper()
	busybox, err := os.ReadFile(vmtest.File(t, tinktest.BusyboxEnv))
	if err != nil {
		t.Fatal(err)
	}
	built, err := images.Image{
		Layers:     [][]images.File{{{Path: "bin/busybox", Data: busybox}, {Path: "bin/sh", Target: "busybox"}}},
		Entrypoint: []string{"/bin/busybox"},
	}.Build()
	if err != nil {
		t.Fatal(err)
	}
	store := registry.NewStore()
	if err := store.Push("busybox:v1", built); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(l.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return registry.Start(t, store, l.Listen("tcp", hub), registry.Options{TLS: &pair})
}

// withContainerd has containerd run, without Tinkerbell, and a shell on the console.
func withContainerd(t testing.TB, l *lab.Lab) vm.Config {
	t.Helper()
	c := config(t)
	c.MemoryMiB = 1024
	c.NICs = []vm.NIC{l.Port("boot")}
	c.Append = "ember.debug=shell"
	c.Overlay = []vm.File{
		{Path: tinktest.TrustedCA, Data: string(l.CA())},
		{Path: "etc/systemd/system/multi-user.target.wants/containerd.service", Target: "/usr/lib/systemd/system/containerd.service"},
	}
	return c
}

// containerdReady waits until containerd is.
func containerdReady(m *vmtest.Machine) {
	m.Line(func(line string) bool { return strings.HasSuffix(line, "containerd: ready") })
}

// TestNerdctl runs a container in a bridge's network, whose port is reached from another machine, and has
// whatever somebody at the console needs.
func TestNerdctl(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	serveImages(t, l)
	m := vmtest.Start(t, withContainerd(t, l))
	address, _, _ := strings.Cut(await(m, stage.Network).Get("address"), "/")
	containerdReady(m)

	const answer = "an answer of the container"
	for _, test := range []struct{ command, want string }{
		{"nerdctl run -d --name web -p 8080:80 " + image + " nc -ll -p 80 -e /bin/busybox echo " + answer + " >/tmp/id; echo $?", "0"},
		{"nerdctl ps --format '{{.Names}} {{.Ports}}'", "web 0.0.0.0:8080->80/tcp"},
		{"nerdctl exec web /bin/busybox hostname | grep -c \"^$(cut -c 1-12 /tmp/id)$\"", "1"},
		{"ctr --namespace default tasks ls | grep -c RUNNING", "1"},
		{"nft list ruleset | grep -q 'dport 8080' && echo forwarded", "forwarded"},
		{"ip -4 addr show dev nerdctl0 | grep -c inet", "1"},
		{"netstat -ltn | grep -c :8080", "1"},
		{"dmesg | grep -c 'Linux version'", "1"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
	got, err := io.ReadAll(l.Dial("tcp", address+":8080"))
	if string(got) != answer+"\n" {
		t.Errorf("the container answers %q, %v", got, err)
	}
}
