package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
)

// asProgram in the environment makes the test binary emberctl itself.
const asProgram = "EMBERCTL_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// folder is where the tests begin, before one goes elsewhere.
var folder, _ = os.Getwd()

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(folder, "testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is different now; it is\n%s", path, got)
	}
}

// desk is an operator's, with a server that is real but for the machines' side: its handler, its store, TLS.
type desk struct {
	dir      string
	registry *store.Registry
	depot    *depot.Depot
	set      atomic.Pointer[operator.Set]
	mu       sync.Mutex
	log      []string
}

// sit gives ann a desk, with a context for the server, and all keys.
func sit(t *testing.T) *desk {
	t.Helper()
	d := &desk{dir: t.TempDir()}
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(d.dir, "config"))
	t.Chdir(d.dir)
	s, err := bolt.Open("store")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d.registry = store.NewRegistry(s, func() time.Time { return now })
	if err := errors.Join(os.MkdirAll("overlays", 0o755), os.MkdirAll("operators", 0o755), keygen(io.Discard, "keys", ""),
		keygenOperator(io.Discard, "operators", "ann", now)); err != nil {
		t.Fatal(err)
	}
	d.depot = &depot.Depot{Folder: "overlays", Registry: d.registry, Keep: 3, MaxSize: 1 << 20}
	identity, err := os.Open("keys/" + identityFile)
	if err != nil {
		t.Fatal(err)
	}
	defer identity.Close()
	if d.depot.Identities, err = age.ParseIdentities(identity); err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile("keys/" + keysFile)
	if err != nil {
		t.Fatal(err)
	}
	if d.depot.Keys, err = manifest.ParseKeys(string(key)); err != nil {
		t.Fatal(err)
	}
	d.know(t)
	url, pin := d.serve(t)
	if status, _, errs := d.run("context", "set", "rack", "--server", url, "--pin", pin, "--operator", "operators/ann.key"); status != 0 {
		t.Fatal(errs)
	}
	return d
}

// audit compares the audit log.
func (d *desk) audit(t *testing.T, want ...string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, line := range want {
		if !slices.Contains(d.log, line) {
			t.Errorf("the audit log has no %q: %q", line, d.log)
		}
	}
}

// know has the server read its folder of operators.
func (d *desk) know(t *testing.T) {
	t.Helper()
	set, _, err := operator.Read("operators") // the keys in it are odd
	if err != nil {
		t.Fatal(err)
	}
	d.set.Store(&set)
}

func (d *desk) serve(t *testing.T) (url, pin string) {
	t.Helper()
	handler := (&admin.Server{
		Registry:  d.registry,
		Overlays:  func() *depot.Depot { return d.depot },
		Published: d.registry.Publish,
		Who:       func(r *http.Request) string { return d.set.Load().Known(r.TLS) },
		Audit: func(_ context.Context, a admin.Action) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.log = append(d.log, fmt.Sprintf("%s %s %.8s%s %d %v", a.By, a.Action, a.Node, a.Overlay, a.Version, a.Err))
		},
	}).Handler()
	server := httptest.NewUnstartedServer(handler)
	certificate := selfSigned(t)
	server.TLS = operator.Require(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}},
		func() operator.Set { return *d.set.Load() })
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	t.Cleanup(server.Close)
	if err := os.WriteFile("server.pem", pemOf(certificate.Leaf), 0o644); err != nil {
		t.Fatal(err)
	}
	return server.URL, client.PinOf(certificate.Leaf).String()
}

// selfSigned is a certificate for 127.0.0.1.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// run calls emberctl, without a terminal.
func (d *desk) run(args ...string) (status int, out, errs string) { return d.runWith("", args...) }

func (d *desk) runWith(stdin string, args ...string) (status int, out, errs string) {
	in, w, err := os.Pipe()
	if err != nil {
		return -1, "", err.Error()
	}
	go func() {
		io.WriteString(w, stdin)
		w.Close()
	}()
	defer in.Close()
	var stdout, stderr bytes.Buffer
	status = (&app{stdin: in, stdout: &stdout, stderr: &stderr}).run(context.Background(), args)
	return status, stdout.String(), stderr.String()
}

// ok calls emberctl, which must succeed.
func (d *desk) ok(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := d.run(args...)
	if status != done {
		t.Fatalf("emberctl %s: status %d: %s", strings.Join(args, " "), status, errs)
	}
	return out
}

// no calls emberctl, which must end with that status, and say so.
func (d *desk) no(t *testing.T, status int, says string, args ...string) {
	t.Helper()
	got, out, errs := d.run(args...)
	if got != status || !strings.Contains(errs, says) {
		t.Errorf("emberctl %s: status %d, says %q and %q; want %d and %q", strings.Join(args, " "), got, out, errs, status, says)
	}
}

// The machines of a fleet.
var (
	good     = strings.Repeat("a1", 32) // enrolled, attested, reports
	changed  = strings.Repeat("b2", 32) // was good, and is refused now
	stranger = strings.Repeat("c3", 32) // waits
	stolen   = strings.Repeat("d4", 32) // revoked
)

var start = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fleet fills the server's store as a server does.
func (d *desk) fleet(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	verdict := func(node, code string, minutes int, boot string) store.Verdict {
		v := store.Verdict{
			Node: node, Time: start.Add(time.Duration(minutes) * time.Minute), Address: "192.0.2.7", Code: code, Policy: "workers",
			Tier: protocol.Attested, Certificate: "5c1a",
			Claims: protocol.Claims{Image: "0.2.0", Vendor: "Dell Inc.", Model: "PowerEdge R640", Serial: "8XK2-" + node[:2], Hostname: "node-" + node[:2], Boot: boot},
		}
		if code == store.Granted {
			v.Overlay, v.Version = "rack", 7
		}
		return v
	}
	refusal := verdict(changed, "policy-pcr", 9, "disk")
	refusal.Address, refusal.Reason, refusal.Differs = "192.0.2.9", "workers: PCR 7 is 07", []int{4, 7}
	stolenVerdict := verdict(stolen, "ek-revoked", 5, "network")
	stolenVerdict.Policy = ""
	report := store.Report{
		Node: good, Time: start.Add(2 * time.Minute), Address: "192.0.2.7", Certificate: "5c1a",
		Stages: []string{"ember: stage=start t=1.799 version=0.2.0", "ember: stage=network t=2.758 link=eth0", "ember: stage=attest t=3.912 tier=attested overlay=7"},
		Health: protocol.Health{State: "healthy"}, Status: []byte(`{"Version":"0.2.0"}`),
	}
	err := errors.Join(
		d.registry.Enroll(ctx, good, "rack 4", "ann"),
		d.registry.Prove(ctx, verdict(good, store.Granted, 0, "network"), evidence(false)),
		d.registry.Report(ctx, report, store.Progress{Stage: "attest", Since: 3912 * time.Millisecond}),
		d.registry.Prove(ctx, verdict(changed, store.Granted, 1, "network"), evidence(false)),
		d.registry.Refuse(ctx, refusal, evidence(true), false),
		d.registry.Revoke(ctx, stolen, "stolen", "bob"),
		d.registry.Refuse(ctx, stolenVerdict, store.Evidence{Time: stolenVerdict.Time}, false),
	)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.registry.Enqueue(ctx, store.Waiting{Node: stranger, Address: "192.0.2.8", Problem: "ek-untrusted", Issuer: "CN=\x1b[31mVendor", Claims: protocol.Claims{Serial: "S-3", Model: "NUC"}}, 9); err != nil {
		t.Fatal(err)
	}
}

func sum(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// evidence is of a machine that has booted what the policy wants, or something else.
func evidence(wrong bool) store.Evidence {
	e := store.Evidence{
		Time: start, Policy: "workers",
		PCRs: []store.PCR{
			{Index: 0, Value: sum(0x10), Explained: true},
			{Index: 4, Value: sum(0x14), Events: true, Explained: true},
			{Index: 7, Value: sum(0x17), Want: [][]byte{sum(0x17), sum(0x27)}, Explained: true},
		},
		Events: []store.Event{
			{PCR: 0, Type: 8, Digest: sum(0x50), Text: "2.19.1"},
			{PCR: 7, Type: 0x80000001, Digest: sum(0x57), Text: "SecureBoot"},
			{PCR: 4, Type: 0x80000003, Digest: sum(0x54)},
		},
	}
	if wrong {
		e.Time = start.Add(9 * time.Minute)
		e.PCRs[1] = store.PCR{Index: 4, Value: sum(0x24), Events: true, Explained: true, Differs: true}
		e.PCRs[2].Value, e.PCRs[2].Differs = sum(0x07), true
		e.Events[2] = store.Event{PCR: 4, Type: 0x80000003, Digest: sum(0x64), Text: "\\EFI\\debian\\shimx64.efi", Differs: true}
		e.Missing = []store.Event{{PCR: 4, Digest: sum(0x54)}}
		e.Omitted = 2
	}
	return e
}

const policies = `
- {name: lab, tiers: [none]}
- name: workers
  tiers: [attested, enrolled]
  pcrs: {7: ["1717171717171717171717171717171717171717171717171717171717171717", "2727272727272727272727272727272727272727272727272727272727272727"]}
  events: {4: {only: "5454545454545454545454545454545454545454545454545454545454545454", require: "5454545454545454545454545454545454545454545454545454545454545454"}}
  overlay: rack
  version: 7
- {name: old, tiers: [attested], nodes: ["a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"]}
`

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
