package os_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ember-os/ember/agent/tinktest"
	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// worker is a network card in the LAN boot of a lab whose address is the machine's name for Tinkerbell.
func worker(l *lab.Lab) vm.NIC { return card(l, "boot", "01") }

// provisioned is a machine that knows nothing but what Tinkerbell's network-boot server tells it, and whom
// to trust.
func provisioned(t testing.TB, l *lab.Lab, site *tinktest.Site, nic vm.NIC) vm.Config {
	t.Helper()
	c := config(t)
	c.MemoryMiB = 1024
	c.NICs = []vm.NIC{nic}
	c.Append = site.Netboot(nic.MAC).CommandLine()
	c.Overlay = []vm.File{{Path: tinktest.TrustedCA, Data: string(l.CA())}}
	return c
}

// dualStack is lan with addresses of IPv6 too, fd00:N::/64, which bridges of containers do not have.
func dualStack(name, n string) lab.LAN {
	l := lan(name, n)
	l.Addrs = append(l.Addrs, netip.MustParsePrefix("fd00:"+n+"::1/64"))
	l.DHCP += "\nenable-ra\ndhcp-range=::,constructor:" + name + ",ra-only,64,2m"
	return l
}

// web is a server in a lab that remembers who asked for what.
type web struct {
	mu       sync.Mutex
	visitors map[string]netip.Addr // by path
}

func serveWeb(l *lab.Lab, addresses ...string) *web {
	w := &web{visitors: map[string]netip.Addr{}}
	for _, address := range addresses {
		go http.Serve(l.Listen("tcp", address), w) // ends with the listener
	}
	return w
}

func (w *web) ServeHTTP(response http.ResponseWriter, r *http.Request) {
	if visitor, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		w.mu.Lock()
		w.visitors[r.URL.Path] = visitor.Addr()
		w.mu.Unlock()
	}
	io.WriteString(response, "the lab's answer\n")
}

func (w *web) visitor(path string) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.visitors[path]
}

// blank is a disk of zeros.
func blank(t testing.TB, size int64) vm.Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return vm.Disk{Path: path}
}

// TestWorkflow has machines do what Tinkerbell wants of them, from registries of all kinds.
func TestWorkflow(t *testing.T) {
	const password = "hunter2"
	for _, test := range []struct {
		name    string
		options tinktest.Options
	}{
		{"Plain", tinktest.Options{}},
		{"TLSWithBasicAuth", tinktest.Options{TLS: true, AgentTLS: true, Agents: registry.Options{User: "admin", Password: password}}},
		{"PlainWithTokens", tinktest.Options{Agents: registry.Options{User: "admin", Password: password, Bearer: true}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const size, written = 4 << 20, 3_000_000
			l := startLab(t, dualStack("boot", "1"))
			visitors := serveWeb(l, "10.0.1.1:80", "[fd00:1::1]:80")
			nic := worker(l)
			o := test.options
			o.Host = netip.MustParseAddr("10.0.1.1")
			o.Workflow = tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{
				{Image: images.WriteDisk, Env: []string{"DEST_DISK=/dev/vda", "BYTES=3000000"}},
				{Image: images.FetchHost, PID: "host", Env: []string{"URL=http://[fd00:1::1]/host"}},
				{Image: images.Fetch, Env: []string{"URL=http://10.0.1.1/bridge"}},
			}}
			site := tinktest.Start(t, l, o)
			c := provisioned(t, l, site, nic)
			disk := blank(t, size)
			c.Disks = []vm.Disk{disk}
			var console bytes.Buffer
			c.Console = &console
			m := vmtest.Start(t, c)
			address, _, _ := strings.Cut(await(m, stage.Network).Get("address"), "/")
			if line := await(m, stage.Agent); line.Get("image") != site.Agents.Address()+"/"+tinktest.AgentImage {
				t.Errorf("the agent is %v", line)
			}
			if from, _, _ := net.SplitHostPort(site.Server.Connected(nic.MAC).Address); from != address {
				t.Errorf("the agent connects from %s, the machine is %s", from, address)
			}
			for _, action := range o.Workflow.Actions {
				site.Server.Status(action.Image, "RUNNING")
				site.Server.Status(action.Image, "SUCCESS")
			}
			if state := site.Server.Ended(); state != "SUCCESS" {
				t.Errorf("the workflow ended with %s", state)
			}
			if got := visitors.visitor("/bridge").String(); got != address {
				t.Errorf("the container in the bridge's network is %s outside, the machine is %s", got, address)
			}
			if got := visitors.visitor("/host"); !netip.MustParsePrefix("fd00:1::/64").Contains(got) {
				t.Errorf("the container in the machine's network is %s outside", got)
			}
			m.Close()
			if bytes.Contains(console.Bytes(), []byte(password)) {
				t.Error("the registry's password is on the console")
			}
			got, err := os.ReadFile(disk.Path)
			if want := append(images.Pattern(written), make([]byte, size-written)...); err != nil || !bytes.Equal(got, want) {
				t.Errorf("the disk has %d bytes, which begin with %.80q: %v", len(got), got, err)
			}
		})
	}
}

// does has a lab's web server answer with what a channel gives.
func gate(l *lab.Lab, address string) (open func()) {
	var once sync.Once
	return func() { once.Do(func() { serveWeb(l, address) }) }
}

// TestAway has registries and Tinkerbell's server go away, and come back, all while they are needed.
func TestAway(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	nic := worker(l)
	site := tinktest.Start(t, l, tinktest.Options{
		Host: netip.MustParseAddr("10.0.1.1"),
		Workflow: tinktest.Workflow{Agent: nic.MAC, Timeout: 10 * time.Minute, Actions: []tinktest.Action{
			{Name: "first", Image: images.Await, Env: []string{"URL=http://10.0.1.1:81/"}},
			{Name: "second", Image: images.Say, Env: []string{"TEXT=that is all"}},
		}},
	})
	site.Agents.GoAway()
	site.Server.Stop()
	m := vmtest.Start(t, provisioned(t, l, site, nic))
	says(m, "the registry "+site.Agents.Address()+" refuses connections: ")
	site.Agents.ComeBack(l.Listen("tcp", site.Agents.Address()))
	await(m, stage.Agent)
	says(m, "connection refused") // says the agent
	site.Actions.GoAway()
	site.Server.Start()
	site.Server.Status("first", "RUNNING")
	says(m, "connection refused") // says containerd
	site.Actions.ComeBack(l.Listen("tcp", site.Actions.Address()))
	says(m, "cni0") // it runs
	site.Server.Stop()
	serveWeb(l, "10.0.1.1:81")
	says(m, "error writing event")
	site.Server.Start()
	if state := site.Server.Ended(); state != "SUCCESS" {
		t.Errorf("the workflow ended with %s", state)
	}
}
