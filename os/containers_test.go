package os_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/os/containerd"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	hub   = "10.0.1.1:5443" // a registry in the LAN boot
	image = hub + "/busybox:v1"
	// Another one with the same images, for those who have the credentials.
	private      = "10.0.1.1:5444"
	privateImage = private + "/busybox:v1"
	user         = "robot"
	password     = "hunter2"
)

// serveImages has two registries with TLS, hub and private, which hold image: busybox, to be given commands.
// hub is fit for a mirror of docker.io. It gives the image's layer as it is transferred.
func serveImages(t testing.TB, l *lab.Lab) []byte {
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
	for _, name := range []string{"busybox:v1", "library/busybox:v1"} {
		if err := store.Push(name, built); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(l.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	registry.Start(t, store, l.Listen("tcp", hub), registry.Options{TLS: &pair})
	registry.Start(t, store, l.Listen("tcp", private), registry.Options{TLS: &pair, User: user, Password: password})
	layers, err := built.Layers()
	if err != nil {
		t.Fatal(err)
	}
	r, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	layer, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// serveProxy has a proxy in the lab, which finds all hosts at the address to.
func serveProxy(l *lab.Lab, at, to string) {
	go http.Serve(l.Listen("tcp", at), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // ends with the listener
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		server, err := l.Network.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer server.Close()
		client, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(server, buffered)
		io.Copy(client, server)
	}))
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
// whatever somebody at the console needs. Images come from registries of all kinds, for CRI's clients too.
func TestNerdctl(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	serveImages(t, l)
	serveProxy(l, "10.0.1.1:3128", hub)
	c := withContainerd(t, l)
	c.Append += " ember.workload=services docker_registry=" + private + " registry_username=" + user + " registry_password=" + password +
		" ember.mirror=docker.io=" + hub + " HTTPS_PROXY=http://10.0.1.1:3128 NO_PROXY=10.0.1.1"
	c.Overlay = append(c.Overlay, overTCP)
	m := vmtest.Start(t, c)
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
		{"nerdctl pull -q busybox:v1 >/dev/null; echo $?", "0"}, // docker.io's, from its mirror
		{"ctr images pull --hosts-dir /etc/containerd/certs.d " + privateImage + " >/dev/null; echo $?", "0"},
		{"ctr plugins ls | awk '$2 == \"cri\" { print $NF }'", "ok"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
	got, err := io.ReadAll(l.Dial("tcp", address+":8080"))
	if string(got) != answer+"\n" {
		t.Errorf("the container answers %q, %v", got, err)
	}
	runtime := dialCRI(t, l, address)
	if version := runtime.version(t); version != "0.1.0" {
		t.Errorf("CRI's version for kubelets is %q", version)
	}
	const far = lab.ServerName + "/busybox:v1" // only the proxy knows that host
	for _, image := range []string{image, privateImage, "docker.io/library/busybox:v1", far} {
		runtime.pull(t, image)
	}
}

// TestNearlyFull has little room for images. The machine says so before an image does not fit.
func TestNearlyFull(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	serveImages(t, l)
	c := withContainerd(t, l)
	c.Append += " ember.containers=64M"
	m := vmtest.Start(t, c)
	await(m, stage.Network)
	containerdReady(m)
	if err := m.Send("dd if=/dev/zero of=/var/lib/containerd/full bs=1M count=62\n"); err != nil {
		t.Fatal(err)
	}
	says(m, "the memory "+containerd.NearlyFull)
	const run = "nerdctl run --rm --net none " + image + " echo contained"
	if got := ask(t, m, run); !strings.HasSuffix(got, `: no space left on device"`) {
		t.Errorf("an image that does not fit: %q", got)
	}
	if got := ask(t, m, "rm /var/lib/containerd/full; "+run); got != "contained" {
		t.Errorf("with room for the image: %q", got)
	}
}

// TestScratch keeps images on a disk.
func TestScratch(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	layer := serveImages(t, l)
	c := withContainerd(t, l)
	disk := blank(t, 256<<20)
	c.Disks = []vm.Disk{disk}
	c.Append += " ember.scratch=/dev/vda"
	m := vmtest.Start(t, c)
	await(m, stage.Network)
	containerdReady(m)
	for _, test := range []struct{ command, want string }{
		{"grep -c '^/dev/vda /var/lib/containerd ext4 ' /proc/mounts", "1"},
		{"lsblk | grep -c '^vda *[0-9]*:0 *0 *256M *0 disk /run/ember/scratch'", "1"},
		{"nerdctl run --rm --net none " + image + " echo contained", "contained"},
	} {
		if got := ask(t, m, test.command); got != test.want {
			t.Errorf("%s\nprints %q, want %q", test.command, got, test.want)
		}
	}
	if err := m.Send("poweroff\n"); err != nil {
		t.Fatal(err)
	}
	m.End()
	got, err := os.ReadFile(disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	const magicAt, labelAt = 0x438, 0x478 // ext4(5)
	if string(got[magicAt:magicAt+2]) != "\x53\xef" || !bytes.HasPrefix(got[labelAt:], []byte("ember-scratch\x00")) {
		t.Errorf("the disk begins with %q", got[1024:1280])
	}
	if !bytes.Contains(got, layer[:4096]) {
		t.Error("the image's layer is not on the disk")
	}
}

// TestScratchInUse names a disk that holds something.
func TestScratchInUse(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	c := withContainerd(t, l)
	disk := blank(t, 256<<20)
	data := bytes.Repeat([]byte("precious"), 1<<20)
	f, err := os.OpenFile(disk.Path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	before := digestOf(t, disk)
	c.Disks = []vm.Disk{disk}
	c.Append += " ember.scratch=/dev/vda"
	m := vmtest.Start(t, c)
	says(m, "images and containers are kept in memory err=\"/dev/vda is not used and was not changed: it holds ")
	containerdReady(m)
	if got := ask(t, m, "grep -c '^tmpfs /var/lib/containerd tmpfs ' /proc/mounts"); got != "1" {
		t.Errorf("%s places in memory for images", got)
	}
	m.Close()
	if digestOf(t, disk) != before {
		t.Error("the disk was changed")
	}
}

func digestOf(t *testing.T, disk vm.Disk) (sum [sha256.Size]byte) {
	t.Helper()
	b, err := os.ReadFile(disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}
