package os_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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

// web is a server in a lab that remembers who asked for what. It has all that it
// does not hold back.
type web struct {
	mu       sync.Mutex
	visitors map[string]netip.Addr // by path
	holds    map[string]bool       // by path
}

func serveWeb(l *lab.Lab, addresses ...string) *web {
	w := &web{visitors: map[string]netip.Addr{}, holds: map[string]bool{}}
	for _, address := range addresses {
		go http.Serve(l.Listen("tcp", address), w) // ends with the listener
	}
	return w
}

func (w *web) ServeHTTP(response http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if visitor, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		w.visitors[r.URL.Path] = visitor.Addr()
	}
	if w.holds[r.URL.Path] {
		response.WriteHeader(http.StatusServiceUnavailable)
	}
	io.WriteString(response, "the lab's answer\n")
}

func (w *web) visitor(path string) netip.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.visitors[path]
}

func (w *web) hold(path string, hold bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holds[path] = hold
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

// theAgent is the real agent's program.
func theAgent(t *testing.T) []byte {
	t.Helper()
	program, err := os.ReadFile(vmtest.File(t, tinktest.AgentEnv))
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// TestWorkflow has machines do what Tinkerbell wants of them, from registries of all kinds and images with the agent
// at several places.
func TestWorkflow(t *testing.T) {
	const password = "hunter2"
	for _, test := range []struct {
		name    string
		options tinktest.Options
		image   func(program []byte) images.Image // nil for the site's own
	}{
		{"Plain", tinktest.Options{}, nil},
		{"TLSWithBasicAuth", tinktest.Options{TLS: true, AgentTLS: true, Agents: registry.Options{User: "admin", Password: password}}, images.Replaced},
		{"PlainWithTokens", tinktest.Options{Agents: registry.Options{User: "admin", Password: password, Bearer: true}}, images.EntrypointOnly},
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
			if test.image != nil {
				site.Push(t, tinktest.AgentImage, test.image(theAgent(t)))
			}
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

// TestPrivateActions has an action of a registry with a password, of which the agent knows nothing, in plain HTTP. A
// service pulls its image before the agent starts.
func TestPrivateActions(t *testing.T) {
	t.Parallel()
	const image = "10.0.1.1:5000/actions/" + images.Say + ":v1"
	l := startLab(t, lan("boot", "1"))
	nic := worker(l)
	site := tinktest.Start(t, l, tinktest.Options{
		Host: netip.MustParseAddr("10.0.1.1"), Agents: registry.Options{User: "admin", Password: "hunter2"},
		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Name: "private", Image: image, Env: []string{"TEXT=x"}}}},
	})
	c := provisioned(t, l, site, nic)
	c.Overlay = append(c.Overlay,
		vm.File{Path: "etc/systemd/system/actions.service", Data: `[Unit]
After=network-online.target containerd.service
Before=tink-agent.service

[Service]
Type=oneshot
ExecStart=/usr/bin/nerdctl pull -q ` + image + "\n"},
		vm.File{Path: "etc/systemd/system/tinkerbell.target.wants/actions.service", Target: "../actions.service"})
	m := vmtest.Start(t, c)
	await(m, stage.Agent)
	site.Server.Status("private", "SUCCESS")
}

// says waits for a line with a text and gives it.
func says(m *vmtest.Machine, text string) string {
	return m.Line(func(line string) bool { return strings.Contains(line, text) })
}

// TestInterruptions has registries and Tinkerbell's server go away, programs of the machine killed while they are
// needed, and an action fail. Each workflow ends.
func TestInterruptions(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	web := serveWeb(l, "10.0.1.1:80")
	nic := worker(l)
	// An action that lasts until the web has the page that is called like it.
	wait := func(name string) tinktest.Workflow {
		web.hold("/"+name, true)
		return tinktest.Workflow{Agent: nic.MAC, Timeout: 20 * time.Second, Actions: []tinktest.Action{
			{Name: name, Image: images.Await, Env: []string{"URL=http://10.0.1.1/" + name}},
		}}
	}
	first := wait("away")
	first.Timeout = 0
	first.Actions = append(first.Actions, tinktest.Action{Image: images.Say, Env: []string{"TEXT=that is all"}})
	site := tinktest.Start(t, l, tinktest.Options{Host: netip.MustParseAddr("10.0.1.1"), Workflow: first})
	runs := func(name string) {
		t.Helper()
		eventually(t, "the action "+name, func() bool { return web.visitor("/" + name).IsValid() })
	}
	ends := func(want ...string) {
		t.Helper()
		if state := site.Server.Ended(); !slices.Contains(want, state) {
			t.Errorf("the workflow ended with %s, want %s", state, strings.Join(want, " or "))
		}
	}

	var m *vmtest.Machine
	kill := func(program string) {
		t.Helper()
		if status := ask(t, m, "killall -9 "+program+"; echo $?"); status != "0" {
			t.Fatalf("killing %s: status %s", program, status)
		}
	}

	site.Agents.GoAway()
	site.Server.Stop()
	c := provisioned(t, l, site, nic)
	c.Append += " ember.debug=shell"
	m = vmtest.Start(t, c)
	says(m, "the registry "+site.Agents.Address()+" refuses connections: ")
	site.Agents.ComeBack(l.Listen("tcp", site.Agents.Address()))
	await(m, stage.Agent)
	says(m, "error reading/retrieving action")
	site.Actions.GoAway()
	site.Server.Start()
	site.Server.Status("away", "RUNNING")
	site.Actions.ComeBack(l.Listen("tcp", site.Actions.Address()))
	runs("away")
	site.Server.Stop()
	site.Server.Start()
	web.hold("/away", false)
	ends("SUCCESS")

	// The agent reports the end of an action only once, and the server may be back in time.
	site.Give(wait("report"))
	runs("report")
	site.Server.Stop()
	web.hold("/report", false)
	says(m, "error writing event")
	site.Server.Start()
	ends("TIMEOUT", "SUCCESS")

	site.Give(wait("agent"))
	runs("agent")
	kill("tink-agent")
	says(m, "the agent was started")
	site.Server.Connected(nic.MAC)
	ends("TIMEOUT")

	site.Give(wait("containerd"))
	runs("containerd")
	kill("containerd")
	ends("FAILED")

	site.Give(tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Fail}}})
	site.Server.Status(images.Fail, "FAILED")
	ends("FAILED")

	site.Give(wait("last"))
	runs("last")
	web.hold("/last", false)
	ends("SUCCESS")
}

// TestAgentErrors has everything wrong with the agent's image and its registry, one after the other. The
// machine says each, here and to the syslog, tries again, and runs the agent in the end.
func TestAgentErrors(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	nic := worker(l)
	site := tinktest.Start(t, l, tinktest.Options{
		Host: netip.MustParseAddr("10.0.1.1"), AgentTLS: true,
		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Say}}},
	})
	agent := theAgent(t)
	chart, err := images.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	good, err := images.Index(images.WrongArchitecture(agent), images.Agent(agent, images.AgentPath))
	if err != nil {
		t.Fatal(err)
	}
	l.Start(lab.Rsyslogd)
	c := provisioned(t, l, site, nic)
	netboot := site.Netboot(nic.MAC)
	netboot.SyslogHost = "10.0.1.1"
	c.Append = netboot.CommandLine() + " ember.debug=shell"
	c.Overlay = []vm.File{{Path: "root/ca.pem", Data: string(l.CA())}}
	m := vmtest.Start(t, c)
	told := func(text string) {
		t.Helper()
		says(m, text)
		l.Message(func(m lab.Message) bool {
			return m.App == "tink-agent" && m.Severity == "err" && strings.Contains(m.Text, text)
		})
	}
	told("the certificate of " + site.Agents.Address() + " is signed by an authority that is not trusted here: ")
	stored := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	push := func(image images.Image) func() {
		return func() {
			site.Push(t, tinktest.AgentImage, image)
			site.Agents.Fail(nil)
		}
	}
	fail := func(f registry.Fault) func() { return func() { site.Agents.Fail(f) } }
	for _, test := range []struct {
		do   func()
		says string
	}{
		{func() {
			site.Agents.Fail(registry.Status(http.StatusUnauthorized))
			ask(t, m, "mkdir -p /etc/ssl/ember.d; cp /root/ca.pem /etc/ssl/ember.d; ember trust")
		}, "(401 Unauthorized): check registry_username and registry_password"},
		{fail(registry.Status(http.StatusNotFound)), "(404 Not Found): check its name and its tag"},
		{fail(registry.Status(http.StatusServiceUnavailable)), "has a fault (503 Service Unavailable)"},
		{func() {
			stored(site.Store.Push(tinktest.AgentImage, chart))
			site.Agents.Fail(nil)
		}, "is not an image of a container: "},
		{push(images.WithoutAgent()), "has no agent: "},
		{push(images.WrongArchitecture(agent)), "is for linux/arm64, and this machine is linux/amd64: "},
		{func() {
			site.Agents.Fail(registry.Corrupt())
			stored(site.Store.Push(tinktest.AgentImage, good))
		}, "does not have the digest it should have"},
		{fail(registry.Cut(1 << 20)), "broke off in the middle of "},
	} {
		test.do()
		told(test.says)
	}
	site.Agents.Fail(nil)
	await(m, stage.Agent)
	site.Server.Connected(nic.MAC)
}

// TestWorker names an image of tink-worker, which is run, but cannot do its work without Docker.
func TestWorker(t *testing.T) {
	t.Parallel()
	l := startLab(t, lan("boot", "1"))
	nic := worker(l)
	site := tinktest.Start(t, l, tinktest.Options{
		Host:     netip.MustParseAddr("10.0.1.1"),
		Workflow: tinktest.Workflow{Agent: nic.MAC, Actions: []tinktest.Action{{Image: images.Say}}},
	})
	program, err := os.ReadFile(vmtest.File(t, tinktest.WorkerEnv))
	if err != nil {
		t.Fatal(err)
	}
	site.Push(t, tinktest.AgentImage, images.Agent(program, "usr/bin/tink-worker"))
	m := vmtest.Start(t, provisioned(t, l, site, nic))
	says(m, " is tink-worker, which has its actions run by Docker, and there is no /var/run/docker.sock: name an image of tink-agent")
	await(m, stage.Agent)
	says(m, `"msg":"rpc error: `) // it passes on what the server answers to its protocol
	site.Server.Foreign(nic.MAC)
}
