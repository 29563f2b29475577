package health

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/health/kubetest"
	"github.com/ember-os/ember/os/service"
)

// TestMain is also the agent of a test: it connects to its argument, and stays until its input ends.
func TestMain(m *testing.M) {
	if os.Args[0] != "agent" {
		os.Exit(m.Run())
	}
	c, err := net.Dial("tcp", os.Args[1])
	if err != nil {
		panic(err)
	}
	defer c.Close()
	os.Stdin.Read(make([]byte, 1))
}

// machine makes a looker at files of its own: a machine that needs nothing and is healthy.
func machine(t *testing.T, words string) *looker {
	t.Helper()
	config, mistakes := cmdline.Parse(words)
	if mistakes != nil {
		t.Fatal(mistakes)
	}
	dir := t.TempDir()
	l := newLooker(Options{Config: config})
	l.paths = paths{filepath.Join(dir, "services.json"), filepath.Join(dir, "health.d"), filepath.Join(dir, "health.json"), filepath.Join(dir, "boot_id"), filepath.Join(dir, "report.json")}
	put(t, l.paths.bootID, kubetest.BootID+"\n", 0o644)
	if err := os.Mkdir(l.paths.commands, 0o755); err != nil {
		t.Fatal(err)
	}
	l.statuses(t,
		service.Status{Name: "ember.target", State: service.Active, Units: []string{"ember-log.service"}},
		service.Status{Name: "ember-log.service", State: service.Active},
		service.Status{Name: "multi-user.target", State: service.Active})
	return l
}

func (l *looker) statuses(t *testing.T, all ...service.Status) {
	t.Helper()
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	put(t, l.paths.services, string(text), 0o644)
}

func (l *looker) commandFile(t *testing.T, name, text string) {
	t.Helper()
	put(t, filepath.Join(l.paths.commands, name), "#!/bin/sh\n"+text+"\n", 0o755)
}

func put(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// want looks, and compares the lines of the report.
func (l *looker) want(t *testing.T, healthy bool, lines ...string) {
	t.Helper()
	r := l.look(t.Context())
	var got []string
	for _, c := range r.Checks {
		got = append(got, fmt.Sprintf("%t %s", c.Healthy, c))
	}
	if text := strings.Join(got, "\n"); r.Healthy != healthy || text != strings.Join(lines, "\n") {
		t.Errorf("healthy %t, want %t:\n%s\nwant\n%s", r.Healthy, healthy, text, strings.Join(lines, "\n"))
	}
}

func TestServices(t *testing.T) {
	l := machine(t, "")
	l.want(t, true, "true services: none of 1 is down")
	l.Except = []string{"ember-lkg.service"}
	all := []service.Status{
		{Name: "ember.target", State: service.Waiting, Units: []string{"ember-lkg.service", "ember-trust.service"}},
		{Name: "ember-lkg.service", State: service.Starting},
		{Name: "ember-trust.service", State: service.Exited},
		{Name: "multi-user.target", State: service.Active, Units: []string{"a.service", "b.service", "missing.service", "ember.target"}},
		{Name: "a.service", State: service.Dead},
		{Name: "b.service", State: service.Active},
		{Name: "unused.service", State: service.Failed},
	}
	l.statuses(t, all...)
	l.want(t, true, "true services: none of 3 is down")

	all[5] = service.Status{Name: "b.service", State: service.Starting, Text: "waiting\x1b for a disk"}
	all[4] = service.Status{Name: "a.service", State: service.Failed, Reason: "exit status 3"}
	all[3].State = service.Waiting
	l.statuses(t, all...)
	l.want(t, false, "false services: a.service has failed (exit status 3), b.service is starting (it says: waiting? for a disk), multi-user.target is not reached")

	all = all[:3]
	l.statuses(t, all...)
	l.want(t, false, "false services: multi-user.target is not known yet")
	var many []string
	for i := range 7 {
		many = append(many, fmt.Sprintf("x%d.service", i))
		all = append(all, service.Status{Name: many[i], State: service.Restarting})
	}
	all[0].Units = many
	l.Config.Workload = cmdline.WorkloadNone
	l.statuses(t, all...)
	l.want(t, false, "false services: x0.service is restarting, x1.service is restarting, x2.service is restarting, x3.service is restarting, x4.service is restarting, 2 more")

	put(t, l.paths.services, "[", 0o644)
	l.want(t, false, "false services: reading the states of services from "+l.paths.services+": unexpected end of JSON input")
}

func TestCommands(t *testing.T) {
	l := machine(t, "")
	const services = "true services: none of 1 is down"
	l.commandFile(t, "10-good", "echo no; echo fine")
	l.commandFile(t, "20-silent", "exit 0")
	l.commandFile(t, ".hidden", "exit 1")
	if err := os.Symlink("/dev/null", filepath.Join(l.paths.commands, "masked")); err != nil {
		t.Fatal(err)
	}
	good := []string{services, "true command 10-good: it has ended well, and says fine", "true command 20-silent: it has ended well"}
	l.want(t, true, good...)

	l.commandFile(t, "20-silent", "printf 'a\\033b' >&2; exit 3")
	l.commandFile(t, "30-killed", "kill -9 $$")
	put(t, filepath.Join(l.paths.commands, "40-text"), "no program", 0o755)
	put(t, filepath.Join(l.paths.commands, "50-mode"), "#!/bin/sh\n", 0o644)
	if err := os.Mkdir(filepath.Join(l.paths.commands, "60-dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.want(t, false, services, good[1],
		"false command 20-silent: it has ended badly: exit status 3, and says a?b",
		"false command 30-killed: it has ended badly: signal: killed",
		"false command 40-text: it has ended badly: fork/exec "+filepath.Join(l.paths.commands, "40-text")+": exec format error",
		"false command 50-mode: "+filepath.Join(l.paths.commands, "50-mode")+" is not executable: set its mode to 0755, or take it away",
		"false command 60-dir: "+filepath.Join(l.paths.commands, "60-dir")+" is not a program: take it away")
}

// TestCommandLimit: what takes too long is killed with what it started, and the rest goes on.
func TestCommandLimit(t *testing.T) {
	l := machine(t, "")
	l.limit = 2 * time.Second
	pids := filepath.Join(t.TempDir(), "pids")
	l.commandFile(t, "hangs", "sleep 1000 & echo $! $$ >"+pids+"; echo waiting; wait")
	l.want(t, false, "true services: none of 1 is down", "false command hangs: it has not ended within 2s, and says waiting")
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(text)) {
		for limit := time.Now().Add(time.Minute); running(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("process %s is left", pid)
			}
		}
	}
}

// running tells whether a process is there and not a zombie that waits for somebody else.
func running(pid string) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return err == nil && !bytes.HasPrefix(state, []byte("Z"))
}

// TestCommandLeaves: what a command leaves behind does not keep it from being well, nor us waiting.
func TestCommandLeaves(t *testing.T) {
	l := machine(t, "")
	pids := filepath.Join(t.TempDir(), "pids")
	l.commandFile(t, "leaves", "sleep 1000 & echo $! >"+pids+"; echo left")
	l.want(t, true, "true services: none of 1 is down", "true command leaves: it has ended well, and says left")
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := os.FindProcess(pid); err == nil {
		p.Kill()
	}
}

func TestTail(t *testing.T) {
	var out tail
	for i := range 10000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	text := out.String()
	if lines := strings.Split(text, "\n"); len(text) > maxOutput || lines[0] != "…" || lines[1] != "line 9591" || lines[len(lines)-1] != "line 9999" {
		t.Errorf("%d bytes, %q … %q", len(text), lines[:2], lines[len(lines)-1])
	}
}

func TestKubernetes(t *testing.T) {
	l, c := machine(t, ""), kubetest.New(t)
	const services = "true services: none of 1 is down"
	kubeconfig := c.NodeUser(t)
	put(t, l.paths.settings, `{"kubeconfig": "`+kubeconfig+`"}`, 0o644)
	l.want(t, true, services, "true kubernetes: node node1 is ready")
	c.Answer(t, "unknown")
	l.want(t, false, services, "false kubernetes: the cluster does not know whether node node1 is ready: NodeStatusUnknown: Kubelet stopped posting node status.")

	c.Answer(t, "ready")
	put(t, l.paths.settings, `{"kubeconfig": "`+kubeconfig+`", "node": "other"}`, 0o644)
	l.want(t, false, services, `false kubernetes: the cluster has no node other (404): nodes "node1" not found`)
	put(t, l.paths.settings, `{"kubeconfig": "`+c.TokenUser(t, kubetest.Token)+`", "node": "node1"}`, 0o644)
	l.want(t, true, services, "true kubernetes: node node1 is ready")
	put(t, l.paths.bootID, "another", 0o644)
	l.want(t, false, services, "false kubernetes: node node1 in the cluster is from another boot: kubelet has not registered this one")

	put(t, l.paths.settings, `{"kubeconfig": "/nonexistent/kubeconfig"}`, 0o644)
	l.want(t, false, services, "false kubernetes: reading kubeconfig: open /nonexistent/kubeconfig: no such file or directory")
	put(t, l.paths.settings, `{"kubecfg": "/a"}`, 0o644)
	l.want(t, false, services, "false kubernetes: reading "+l.paths.settings+`: json: unknown field "kubecfg"`)
}

// TestSlowCluster: a cluster that does not answer does not keep a look waiting.
func TestSlowCluster(t *testing.T) {
	l, c := machine(t, ""), kubetest.New(t)
	l.patience = time.Second
	c.Handle(hang)
	put(t, l.paths.settings, `{"kubeconfig": "`+c.NodeUser(t)+`"}`, 0o644)
	l.want(t, false, "true services: none of 1 is down",
		"false kubernetes: the cluster at "+c.Listener.Addr().String()+" has not answered for node node1 within 1s")
}

func TestNodeName(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ set, certified, want string }{{"a", "b", "a"}, {"", "b", "b"}, {"", "", strings.ToLower(host)}} {
		if got, err := nodeName(test.set, test.certified); err != nil || got != test.want {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}

func FuzzParseSettings(f *testing.F) {
	for _, text := range []string{`{"kubeconfig":"/a","node":"b"}`, `{}`, `{"node":"b"}`, `{"kubeconfig":"a"}`, `{} {}`, `[]`, `null`, ``, `{"kubeconfig":"/a","node":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSettings(text)
		if err == nil && (s.Kubeconfig == "" && s.Node != "" || s.Kubeconfig != "" && !filepath.IsAbs(s.Kubeconfig)) || err != nil && s != (settings{}) {
			t.Errorf("%q gives %+v, %v", text, s, err)
		}
	})
}

// agentOf starts a process that connects to address, with a directory that looks like its cgroup.
func agentOf(t *testing.T, address string) (unit service.Status) {
	t.Helper()
	cmd := &exec.Cmd{Path: "/proc/self/exe", Args: []string{"agent", address}, Stderr: os.Stderr}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	dir := t.TempDir()
	put(t, filepath.Join(dir, "cgroup.procs"), strconv.Itoa(cmd.Process.Pid)+"\n", 0o644)
	return service.Status{Name: agentUnit, State: service.Active, Cgroup: dir}
}

func TestTinkerbell(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := listener.Addr().String()
	l := machine(t, "docker_registry=registry.example grpc_authority="+address)
	target := service.Status{Name: "tinkerbell.target", State: service.Active, Units: []string{agentUnit}}
	const services = "true services: none of 1 is down"

	starting := service.Status{Name: agentUnit, State: service.Starting, Text: "fetching registry.example/tink-agent:latest"}
	l.statuses(t, target, starting)
	l.want(t, false, "false services: tink-agent.service is starting (it says: fetching registry.example/tink-agent:latest)",
		"false tinkerbell: tink-agent.service is not active")
	l.statuses(t, target, service.Status{Name: agentUnit, State: service.Active})
	l.want(t, false, services, "false tinkerbell: tink-agent.service has no cgroup, so which processes are the agent's is not known")

	idle, err := net.Listen("tcp", "127.0.0.1:0") // another server
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	l.statuses(t, target, agentOf(t, idle.Addr().String()))
	other, err := idle.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.want(t, false, services, "false tinkerbell: the agent has no connection to "+address)

	l.statuses(t, target, agentOf(t, address))
	server, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l.want(t, false, services, "false tinkerbell: "+address+" has accepted the agent's connection and says nothing")
	if _, err := server.Write([]byte("settings")); err != nil {
		t.Fatal(err)
	}
	l.want(t, true, services, "true tinkerbell: the agent is connected to "+address)

	l.Config.Tinkerbell.GRPCAuthority = "localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	l.want(t, true, services, "true tinkerbell: the agent is connected to "+l.Config.Tinkerbell.GRPCAuthority)
	l.Config.Tinkerbell.GRPCAuthority = ""
	l.want(t, false, services, "false tinkerbell: grpc_authority is not given, so the agent has no server")
}
