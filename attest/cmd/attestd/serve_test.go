package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/metrics"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
)

// running is a server in this process.
type running struct {
	dir     string
	address string
	remote  string // of operators
	status  string // the URL of the status page, if there is one
	hangup  chan os.Signal
	stop    context.CancelFunc
	done    chan error
	log     *output
	admin   *admin.Client

	registry *store.Registry
}

type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (i *issuer) writePair(t *testing.T, dir string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(i.key)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "tls-key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	writeFile(t, filepath.Join(dir, "tls.pem"), i.pem())
}

const minimal = `
listen: 127.0.0.1:0
data: data
admin: a.sock
audit: audit.log
tls: {certificate: tls.pem, key: tls-key.pem}
enrolment: {vendors: vendors, machines: machines}
policies: [{name: p, tiers: [attested]}]
`

// prepare writes what a server needs.
func prepare(t *testing.T, text string) (dir string, certificate *issuer) {
	t.Helper()
	dir = t.TempDir()
	certificate = newIssuer(t, "one.example", nil)
	certificate.writePair(t, dir)
	writeFile(t, filepath.Join(dir, "vendors", "v.pem"), newIssuer(t, "vendor", nil).pem())
	writeFile(t, filepath.Join(dir, "machines"), nil)
	writeFile(t, filepath.Join(dir, "attestd.yaml"), []byte(text))
	t.Chdir(dir) // paths may be longer than a socket's address
	return dir, certificate
}

func begin(t *testing.T, text string, more ...func(*testing.T)) (*running, *issuer) {
	t.Helper()
	dir, certificate := prepare(t, text)
	for _, f := range more {
		f(t)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{dir: dir, hangup: make(chan os.Signal, 1), stop: cancel, done: make(chan error, 1), log: new(output)}
	p, err := start(ctx, "attestd.yaml", flags{}, slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen(p.config)
	if err != nil {
		t.Fatal(err)
	}
	r.address, r.admin, r.registry = l.machines.Addr().String(), admin.Unix("a.sock"), p.registry
	if l.remote != nil {
		r.remote = l.remote.Addr().String()
	}
	if l.status != nil {
		r.status = "http://" + l.status.Addr().String()
	}
	go func() {
		defer p.close()
		r.done <- p.run(ctx, l, r.hangup)
	}()
	t.Cleanup(func() {
		cancel()
		r.admin.HTTP.CloseIdleConnections()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
		r.done <- nil
	})
	return r, certificate
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// name is that of the server's certificate on a new connection.
func (r *running) name(t *testing.T) string {
	t.Helper()
	c, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func (r *running) reload(t *testing.T, says string) {
	t.Helper()
	before := strings.Count(r.log.String(), says)
	r.hangup <- syscall.SIGHUP
	await(t, says, func() bool { return strings.Count(r.log.String(), says) > before })
}

func TestServe(t *testing.T) {
	r, certificate := begin(t, minimal)
	pool := x509.NewCertPool()
	pool.AddCert(certificate.certificate)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "one.example"}, DisableKeepAlives: true}}
	resp, err := client.Post("https://"+r.address+protocol.Path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 400 || !strings.Contains(string(b), `"code":"request-malformed"`) || resp.ProtoMajor != 1 {
		t.Errorf("status %d: %s, %v", resp.StatusCode, b, err)
	}
	if b, err := os.ReadFile("audit.log"); err != nil || !strings.Contains(string(b), `"decision":"refuse","code":"request-malformed"`) {
		t.Errorf("audit log %s, %v", b, err)
	}

	t.Run("TLS 1.2", func(t *testing.T) {
		_, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("%v", err)
		}
	})
	t.Run("files are the user's own", func(t *testing.T) {
		for _, file := range []string{"a.sock", "audit.log", "data/store", "data/machines-ca-key.pem"} {
			if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v", file, info.Mode(), err)
			}
		}
	})
	t.Run("one server for a store", func(t *testing.T) {
		_, err := start(t.Context(), "attestd.yaml", flags{}, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "another process has") {
			t.Errorf("%v", err)
		}
	})
}

func TestOperators(t *testing.T) {
	r, _ := begin(t, minimal)
	node := strings.Repeat("a", 64)
	if err := r.admin.Revoke(t.Context(), node, "stolen"); err != nil {
		t.Fatal(err)
	}
	if err := r.admin.Enroll(t.Context(), node, ""); !errors.Is(err, store.ErrRevoked) {
		t.Errorf("%v", err)
	}
	machine, err := r.admin.Node(t.Context(), node)
	if want := fmt.Sprintf("uid %d", os.Getuid()); err != nil || machine.By != want {
		t.Errorf("%+v, %v", machine, err)
	}
	b, err := os.ReadFile("audit.log")
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(b) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fields)
	}
	if len(lines) != 2 || lines[0]["action"] != "revoke" || lines[0]["node"] != node || lines[1]["error"] != store.ErrRevoked.Error() {
		t.Errorf("audit log %s", b)
	}
}

func TestReload(t *testing.T) {
	r, _ := begin(t, minimal)
	if got := r.name(t); got != "one.example" {
		t.Fatalf("certificate for %s", got)
	}
	newIssuer(t, "two.example", nil).writePair(t, r.dir)
	await(t, "the new certificate, without a signal", func() bool { return r.name(t) == "two.example" })

	writeFile(t, "tls.pem", []byte("nonsense"))
	r.reload(t, "all stays as it was")
	if got := r.name(t); got != "two.example" {
		t.Errorf("certificate for %s", got)
	}
	newIssuer(t, "three.example", nil).writePair(t, r.dir)
	writeFile(t, "attestd.yaml", []byte(strings.ReplaceAll(minimal, "tiers: [attested]", "tiers: [wrong]")))
	r.reload(t, "all stays as it was")
	writeFile(t, "attestd.yaml", []byte("queue: 7\n"+minimal))
	r.reload(t, "needs a restart")
	writeFile(t, "attestd.yaml", []byte(minimal))
	r.reload(t, "msg=reloaded")
	if got := r.name(t); got != "three.example" {
		t.Errorf("certificate for %s", got)
	}
}

// After a rotation the log is written where its name says.
func TestAuditRotation(t *testing.T) {
	r, _ := begin(t, minimal)
	if err := os.Rename("audit.log", "audit.log.1"); err != nil {
		t.Fatal(err)
	}
	r.reload(t, "msg=reloaded")
	if err := r.admin.Revoke(t.Context(), strings.Repeat("a", 64), ""); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{"audit.log": 1, "audit.log.1": 0} {
		if b, err := os.ReadFile(file); err != nil || bytes.Count(b, []byte("\n")) != want {
			t.Errorf("%s: %s, %v", file, b, err)
		}
	}
}

// A request that has begun is answered when the server stops.
func TestGracefulStop(t *testing.T) {
	r, _ := begin(t, minimal)
	c, err := tls.Dial("tcp", r.address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", protocol.Path)
	interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(c, interim); err != nil || !strings.Contains(string(interim), "100 Continue") {
		t.Fatalf("%q, %v", interim, err)
	}
	r.stop()
	await(t, "the server takes no more connections", func() bool {
		other, err := net.Dial("tcp", r.address)
		if err == nil {
			other.Close()
		}
		return err != nil
	})
	io.WriteString(c, "{}")
	answer := make([]byte, 12)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "HTTP/1.1 400" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestCheck(t *testing.T) {
	_, certificate := prepare(t, minimal)
	var said strings.Builder
	if err := check(t.Context(), &said, "attestd.yaml", flags{}); err != nil {
		t.Error(err)
	}
	if want := "pin of the TLS key is " + client.PinOf(certificate.certificate).String() + ", its certificate ends at 20"; !strings.Contains(said.String(), want) {
		t.Errorf("it says %q without %q", &said, want)
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, "identity.txt", []byte(id.String()+"\n"))
	writeFile(t, "overlays/base/manifest", nil)
	writeFile(t, "attestd.yaml", []byte(strings.ReplaceAll(minimal, "tiers: [attested]", "tiers: [attested], overlay: base")+"overlays: {folder: overlays, identity: identity.txt}\n"))
	if err := check(t.Context(), io.Discard, "attestd.yaml", flags{}); err == nil || err.Error() != "2 problems in the files that attestd.yaml names" {
		t.Errorf("%v", err)
	}
	// In this order, as each is missed before the ones that are gone already.
	for _, step := range []struct{ file, want string }{
		{"identity.txt", "reading the identity for overlays"},
		{"machines", "reading the list of machines"},
		{"tls-key.pem", "reading the TLS certificate"},
		{"attestd.yaml", "reading the configuration"},
	} {
		if err := os.Remove(step.file); err != nil {
			t.Fatal(err)
		}
		if err := check(t.Context(), io.Discard, "attestd.yaml", flags{}); err == nil || !strings.Contains(err.Error(), step.want) {
			t.Errorf("without %s: %v", step.file, err)
		}
	}
	if _, err := os.Stat("data"); !os.IsNotExist(err) {
		t.Errorf("check made the data folder: %v", err)
	}
}

// The files with measurements are the policies', and are read again with them.
func TestMeasurements(t *testing.T) {
	const file = "builds/1.json"
	prepare(t, strings.ReplaceAll(minimal, "tiers: [attested]", "tiers: [attested], measurements: {files: ["+file+"], paths: [uki]}"))
	c, err := readConfig("attestd.yaml", flags{})
	if err != nil || !slices.Contains(c.files(), file) {
		t.Fatalf("%+v: %v", c, err)
	}
	build := policy.Build{
		Format: policy.BuildFormat,
		Paths:  []policy.Path{{Name: "uki", PCRs: map[int]policy.Digests{11: {{1}}}}},
	}
	text, err := build.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text []byte
		want string // of the error, "" for none
	}{
		{nil, "measurements " + file + ": open"},
		{[]byte("{}"), "measurements " + file + ": reading measurements: they are of format 0"},
		{text, ""},
	} {
		if step.text != nil {
			writeFile(t, file, step.text)
		}
		_, err := load(t.Context(), c, nil, nil)
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("with %q: %v, not %q", step.text, err, step.want)
		}
	}
}

// An overlay that could not be published because the store was away is tried again.
func TestPublishAgain(t *testing.T) {
	for problem, want := range map[error]string{
		errors.New("its manifest is wrong"):                     "seen",
		fmt.Errorf("reading overlay: %w", store.ErrUnavailable): "",
	} {
		p := &process{log: slog.New(slog.DiscardHandler), metrics: metrics.New("")}
		p.use(new(config), &loaded{settings: new(server.Settings), warnings: []error{problem}}, "seen")
		if p.seen != want {
			t.Errorf("%v: %q", problem, p.seen)
		}
	}
}
