package load

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"fmt"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

// fleet makes so many machines in so many TPMs.
func fleet(t testing.TB, machines, tpms int) []*Machine {
	t.Helper()
	made := make([][]*Machine, tpms)
	failed := make(chan error, tpms)
	for i := range made {
		p := attesttest.New(t, fmt.Sprint("load", i))
		maker, err := NewMaker(p, p.Boot(attesttest.Firmware()...), attesttest.CertificateOf)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for len(made[i]) < (machines+tpms-1-i)/tpms {
				m, err := maker.Machine()
				if err != nil {
					failed <- err
					return
				}
				made[i] = append(made[i], m)
			}
			failed <- nil
		}()
	}
	for range made {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	var all []*Machine
	for i := range machines {
		all = append(all, made[i%tpms][i/tpms])
	}
	return all
}

// target is a server for that many machines, with its configuration's binding and store.
type target struct {
	*attestdtest.Server
	dir string
	tls *tls.Config
}

func startTarget(t testing.TB, binding, store string) *target {
	t.Helper()
	dir := t.TempDir()
	vendor, err := os.ReadFile(attesttest.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	certificate := writeCertificate(t, dir)
	text := fmt.Sprintf(`
data: data
admin: %s
audit: audit.log
binding: %s
tls: {certificate: tls.pem, key: tls-key.pem}
authority: {certificate: data/machines-ca.pem, key: data/machines-ca-key.pem}
enrolment: {vendors: vendors}
limits: {requestsPerMachine: 1000000, requestsPerAddress: 100000000, connections: 4096, connectionsPerAddress: 4096}
policies: [{name: all, tiers: [attested], events: {4: {require: %x}}}]
%s`, filepath.Join(shortDir(t), "a.sock"), binding, action(t), store)
	for name, b := range map[string][]byte{"attestd.yaml": []byte(text), "vendors/test.pem": vendor} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	trust := client.Trust{Pins: []client.Pin{client.PinOf(certificate)}}
	return &target{attestdtest.Start(t, dir), dir, trust.TLS("127.0.0.1", client.Clock{})}
}

// action is the digest of an event that all machines have.
func action(t testing.TB) []byte {
	t.Helper()
	for _, e := range attesttest.Firmware() {
		if e.PCR == 4 && e.Type == attesttest.Application {
			sum := sha256.Sum256(e.Data)
			return sum[:]
		}
	}
	t.Fatal("there is no such event")
	return nil
}

// shortDir is for sockets.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func writeCertificate(t testing.TB, dir string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "attestd"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.pem": {Type: "CERTIFICATE", Bytes: der}, "tls-key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// usage is what the process has used (proc_pid_stat(5), proc_pid_status(5)).
func (s *target) usage(t testing.TB) Usage {
	stat, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID()))
	status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	const ticks = 100 // a second, to all programs of Linux
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kilobytes int64
	_, err3 := fmt.Sscan(rest, &kilobytes)
	if err1 != nil || err2 != nil || err3 != nil {
		t.Fatal(err1, err2, err3)
	}
	return Usage{time.Duration(user+system) * time.Second / ticks, kilobytes << 10}
}

// allowed are the machines in the audit log that were let in, and how often.
func (s *target) allowed(t testing.TB) map[string]int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	nodes, refused := make(map[string]int), make(map[string]int)
	for line := range bytes.Lines(b) {
		var d struct{ Decision, Node, Reason string }
		if err := json.Unmarshal(line, &d); err != nil {
			t.Fatal(err)
		}
		if d.Decision != "allow" {
			refused[d.Reason]++
		}
		nodes[d.Node]++
	}
	if len(refused) > 0 {
		t.Errorf("the server has refused: %v", refused)
	}
	return nodes
}

// Each machine is another one to the server, and is let in, at a rate and without, with each binding and store.
func TestRun(t *testing.T) {
	machines := fleet(t, 50, 2)
	for _, test := range []struct {
		binding string
		etcd    bool
		rate    float64
	}{{"connection", false, 0}, {"challenge", false, 200}, {"challenge", true, 0}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			store := ""
			if test.etcd {
				store = fmt.Sprintf("store: {etcd: {endpoints: [%q]}}\n", etcdtest.Start(t, 1, nil)[0].Endpoint())
			}
			s := startTarget(t, test.binding, store)
			r, err := Run(t.Context(), machines, Config{
				Address: s.Address, TLS: s.tls, Challenge: test.binding == "challenge", Group: 16, Workers: 4, Rate: test.rate,
				Meter: func() Usage { return s.usage(t) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Granted != len(machines) || len(r.Refused) != 0 || len(r.Both) != len(machines) || r.CPU == 0 || r.Memory == 0 || r.Generator == 0 {
				t.Errorf("%v, %v", r, r.Refused)
			}
			nodes := s.allowed(t)
			if len(nodes) != len(machines) {
				t.Errorf("%d machines were let in", len(nodes))
			}
			// A server that is gone is told of.
			s.Kill()
			if r, err = Run(t.Context(), machines[:3], Config{Address: s.Address, TLS: s.tls, Group: 2, Workers: 1}); err != nil || r.refusals() != 3 {
				t.Errorf("a server that is gone: %v, %v", r, err)
			}
		})
	}
}

func TestChart(t *testing.T) {
	result := func(rate int, each time.Duration) *Result {
		r := &Result{Granted: rate, Time: time.Second, CPU: time.Duration(rate) * time.Millisecond, Memory: 50e6, Refused: map[string]int{"gone <": 3}}
		for i := range rate {
			r.Both = append(r.Both, each*time.Duration(i+1)/time.Duration(rate))
		}
		return r
	}
	var b bytes.Buffer
	err := WriteChart(&b, "a < b", []Panel{
		{"one", result(400, time.Second), []Paced{{100, result(100, 10*time.Millisecond)}, {200, result(200, 100*time.Millisecond)}}},
		{"two", result(300, time.Minute), nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"a &lt; b", "most 400/s", "most 300/s", "500/s", "1.00 ms of a processor", "2000/s by 2 processors", "50 MB", "400 let in, 3 refused",
		`<polyline class="high" points="117.6,199.6 171.2,133.0"/>`, // at 9.9 ms and 99 ms
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestPercentile(t *testing.T) {
	times := make([]time.Duration, 200)
	for i := range times {
		times[i] = time.Duration(i + 1)
	}
	for percent, want := range map[float64]time.Duration{0: 1, 0.5: 1, 1: 2, 50: 100, 99: 198, 99.5: 199, 100: 200} {
		if got := Percentile(times, percent); got != want {
			t.Errorf("%v percent: %d, want %d", percent, got, want)
		}
	}
	if Percentile(nil, 50) != 0 {
		t.Error("a percentile of nothing")
	}
}
