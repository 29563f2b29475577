package tinktest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// loopback is a network without a lab.
type loopback struct {
	t         testing.TB
	cert, key string
}

func newLoopback(t testing.TB) loopback {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return loopback{t, write("cert.pem", "CERTIFICATE", cert), write("key.pem", "PRIVATE KEY", der)}
}

func (l loopback) Certificate() (cert, key string) { return l.cert, l.key }

func (l loopback) Listen(network, address string) net.Listener {
	l.t.Helper()
	listener, err := net.Listen(network, address)
	if err != nil {
		l.t.Fatal(err)
	}
	return listener
}

const worker = "52:54:00:00:00:01"

// startAgent runs the real agent with more arguments.
func startAgent(t *testing.T, l loopback, s *Server, args ...string) {
	t.Helper()
	start(t, []string{"SSL_CERT_FILE=" + l.cert}, vmtest.File(t, AgentEnv), append([]string{
		"-transport", "grpc", "-grpc-server", s.Address(), "-id", worker, "-backoff-max-interval", "100ms",
	}, args...)...)
}

// start runs a program until the test ends. Its output is shown if the test fails.
func start(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Wait() // the test's context has ended
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(program), out.String())
		}
	})
}

// noDocker is a runtime that is not there, which the agent finds out soon.
func noDocker(t *testing.T) []string {
	return []string{"-runtime", "docker", "-docker-socket", filepath.Join(t.TempDir(), "docker.sock")}
}

// TestAgent has the real agent, without a runtime, fail a workflow over TLS.
func TestAgent(t *testing.T) {
	l := newLoopback(t)
	s := Start(t, l, Options{Host: netip.MustParseAddr("127.0.0.1"), AnyPort: true, TLS: true, Workflow: Workflow{
		Agent: worker, Actions: []Action{{Image: images.Say, Env: []string{"TEXT=x"}}},
	}})
	startAgent(t, l, s.Server, append(noDocker(t), "-grpc-tls=true")...)
	e := s.Server.Connected(worker)
	var attributes struct{ CPU struct{ TotalThreads int } }
	if err := json.Unmarshal(e.Attributes, &attributes); err != nil || attributes.CPU.TotalThreads == 0 {
		t.Errorf("the agent says of its machine: %s, %v", e.Attributes, err)
	}
	s.Server.Status(images.Say, "RUNNING")
	s.Server.Status(images.Say, "FAILED")
	if state := s.Server.Ended(); state != "FAILED" {
		t.Errorf("the workflow ended with %s", state)
	}
}

// TestServerComesBack has an agent that starts while the server is away.
func TestServerComesBack(t *testing.T) {
	l := newLoopback(t)
	s := Start(t, l, Options{Host: netip.MustParseAddr("127.0.0.1"), AnyPort: true, Workflow: Workflow{
		Agent: worker, Actions: []Action{{Image: images.Say}},
	}})
	s.Server.Stop()
	if c, err := net.Dial("tcp", s.Server.Address()); err == nil {
		c.Close()
		t.Fatal("the server was stopped, but connections are accepted")
	}
	startAgent(t, l, s.Server, noDocker(t)...)
	s.Server.Start()
	s.Server.Connected(worker)
	if state := s.Server.Ended(); state != "FAILED" {
		t.Errorf("the workflow ended with %s", state)
	}
}

// TestGive has an agent do one workflow after the other.
func TestGive(t *testing.T) {
	l := newLoopback(t)
	work := func(name string) Workflow {
		return Workflow{Agent: worker, Actions: []Action{{Name: name, Image: images.Say}}}
	}
	s := Start(t, l, Options{Host: netip.MustParseAddr("127.0.0.1"), AnyPort: true, Workflow: work("first")})
	startAgent(t, l, s.Server, noDocker(t)...)
	s.Server.Status("first", "FAILED")
	s.Give(work("second"))
	s.Server.Status("second", "FAILED")
}

// TestWorker has the real tink-worker come with its own protocol. It takes its ID from ID and not from
// WORKER_ID, and knows none of the agent's flags.
func TestWorker(t *testing.T) {
	l := newLoopback(t)
	s := Start(t, l, Options{Host: netip.MustParseAddr("127.0.0.1"), AnyPort: true, Workflow: Workflow{
		Agent: worker, Actions: []Action{{Image: images.Say}},
	}})
	start(t, []string{"ID=" + worker, "TINKERBELL_GRPC_AUTHORITY=" + s.Server.Address(), "TINKERBELL_TLS=false"}, vmtest.File(t, WorkerEnv))
	if e := s.Server.Foreign(worker); e.Method != "/proto.WorkflowService/GetWorkflowContexts" {
		t.Errorf("tink-worker came with %s", e.Method)
	}
}

func TestSite(t *testing.T) {
	s := Start(t, newLoopback(t), Options{Host: netip.MustParseAddr("127.0.0.1"), AnyPort: true, Workflow: Workflow{
		Agent: worker, Timeout: time.Hour, Actions: []Action{
			{Image: images.WriteDisk, Env: []string{"DEST_DISK=/dev/vda"}},
			{Name: "other", Image: "registry.test/some/image", PID: "host", Timeout: time.Minute},
		},
	}})
	n := s.Netboot(worker)
	want := []string{"tink_worker_image=" + s.Agents.Address() + "/" + AgentImage, "insecure_registries=" + s.Agents.Address()}
	if len(n.Extra) != 2 || n.Extra[0] != want[0] || n.Extra[1] != want[1] || n.WorkerID != worker || n.Authority != s.Server.Address() {
		t.Errorf("the network-boot server says %+v", n)
	}
	d := s.document()
	if a := d.Actions[0]; a.Image != s.Actions.Address()+"/actions/writedisk:v1" || a.Name != images.WriteDisk || a.Timeout != int64(patience.Seconds()) {
		t.Errorf("the first action is %+v", a)
	}
	if a := d.Actions[1]; a.Image != "registry.test/some/image" || a.Name != "other" || a.Timeout != 60 || a.ID != strconv.Itoa(2) || d.Timeout != 3600 {
		t.Errorf("the second action is %+v", a)
	}
}
