package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hpke"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
	"github.com/ember-os/ember/attest/verify"
)

// lab is a server on the network, whose evidence is what the test says: what is true of a TPM is the business of
// package verify.
type lab struct {
	*Server
	http     *httptest.Server
	registry *store.Registry
	audit    *lines
	log      *lines
	verified func(*protocol.Request, []byte, verify.Options) (*verify.Evidence, error)

	mu  sync.Mutex
	now time.Time
}

// lines keeps what is written to it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const anyPolicy = "- {name: all, tiers: [attested, enrolled]}"

func settings(t testing.TB, policies string) *Settings {
	t.Helper()
	set, err := policy.Parse([]byte(policies))
	if err != nil {
		t.Fatal(err)
	}
	return &Settings{Policies: set}
}

func openStore(t testing.TB) store.Store {
	t.Helper()
	s, err := bolt.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// start starts a server with the policies. Change may change its configuration.
func start(t testing.TB, policies string, change ...func(*Config)) *lab {
	t.Helper()
	l := &lab{audit: new(lines), log: new(lines), now: time.Now()}
	clock := func() time.Time {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.now
	}
	l.registry = store.NewRegistry(openStore(t), clock)
	dir := t.TempDir()
	authority, err := OpenAuthority(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem"), l.now)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Registry:  l.registry,
		Authority: authority,
		Audit:     NewAudit(l.audit, func(err error) { t.Log(err) }),
		Log:       slog.New(slog.NewTextHandler(l.log, nil)),
		Queue:     10,
		Limits:    Limits{AddressPerMinute: 1000, MachinePerMinute: 1000},
		Now:       clock,
	}
	for _, f := range change {
		f(&c)
	}
	l.registry = c.Registry
	if l.Server, err = New(t.Context(), c, settings(t, policies)); err != nil {
		t.Fatal(err)
	}
	l.verified = attested
	l.verify = func(r *protocol.Request, nonce []byte, o verify.Options) (*verify.Evidence, error) {
		if !bytes.Equal(r.Quote.Attest, r.Binding(nonce)) {
			return nil, &verify.Refusal{Code: "quote-nonce", Message: "the quote is bound to something else"}
		}
		return l.verified(r, nonce, o)
	}
	l.http = httptest.NewUnstartedServer(l)
	l.http.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authority.Pool()}
	l.http.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	l.http.StartTLS()
	t.Cleanup(l.http.Close)
	return l
}

func (l *lab) pass(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

// attested is evidence of a machine with a trusted certificate, whose name is made of its EK.
func attested(r *protocol.Request, _ []byte, _ verify.Options) (*verify.Evidence, error) {
	var claims protocol.Claims
	if err := json.Unmarshal(r.Claims, &claims); err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(r.TLSKey)
	if err != nil {
		return nil, err
	}
	return &verify.Evidence{
		Node: nodeOf(r), Tier: protocol.Attested, Claims: claims, TLSKey: key,
		PCRs:       map[int][]byte{7: r.PCRs[7]},
		Credential: func(secret []byte) (blob, encrypted []byte, err error) { return []byte("blob"), secret, nil },
	}, nil
}

// unknown is evidence of a machine without a certificate.
func unknown(r *protocol.Request, nonce []byte, o verify.Options) (*verify.Evidence, error) {
	e, err := attested(r, nonce, o)
	if err == nil {
		e.Tier, e.EKProblem = protocol.None, &verify.Refusal{Code: verify.EKUntrusted}
		if o.Enrolled(e.Node) {
			e.Tier = protocol.Enrolled
		}
	}
	return e, err
}

func nodeOf(r *protocol.Request) string { return strings.Repeat(fmt.Sprintf("%.1x", r.EK), 64)[:64] }

// machine is a client.
type machine struct {
	ek   string // its name is the first hex digit of it, again and again
	key  *ecdsa.PrivateKey
	hpke hpke.PrivateKey
	edit func(*protocol.Request) // before the quote is made
	late func(*protocol.Request) // after it
}

func newMachine(t testing.TB, ek string) *machine {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h, err := protocol.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &machine{ek: ek, key: key, hpke: h}
}

func (m *machine) node() string { return nodeOf(&protocol.Request{EK: []byte(m.ek)}) }

func (m *machine) request(t testing.TB, nonce []byte) *protocol.Request {
	t.Helper()
	key, err := x509.MarshalPKIXPublicKey(m.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	r := &protocol.Request{
		Version: protocol.Version, EK: []byte(m.ek), AK: []byte("ak"), TLSKey: key, HPKEKey: m.hpke.PublicKey().Bytes(),
		PCRs: make([][]byte, len(protocol.QuotedPCRs)), Claims: json.RawMessage(`{"image":"v1","serial":"S1"}`),
	}
	r.PCRs[7] = bytes.Repeat([]byte{7}, 32)
	if m.edit != nil {
		m.edit(r)
	}
	r.Quote.Attest = r.Binding(nonce)
	if m.late != nil {
		m.late(r)
	}
	return r
}

// dial opens a connection, whose exporter's value is nonce.
func (l *lab) dial(t *testing.T, certificates ...tls.Certificate) (client *http.Client, nonce []byte) {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(l.http.Certificate())
	conn, err := tls.Dial("tcp", l.http.Listener.Addr().String(), &tls.Config{RootCAs: pool, ServerName: "example.com", Certificates: certificates})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	state := conn.ConnectionState()
	if nonce, err = state.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize); err != nil {
		t.Fatal(err)
	}
	used := false
	transport := &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if used {
			return nil, fmt.Errorf("the connection is gone")
		}
		used = true
		return conn, nil
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, nonce
}

// answer is what came back.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	problem protocol.Problem
}

func (l *lab) post(t *testing.T, client *http.Client, body io.Reader) answer {
	t.Helper()
	resp, err := client.Post("https://example.com"+protocol.Path, "application/json", body)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: b}
	if a.status != http.StatusOK && a.status != http.StatusPartialContent && a.status != http.StatusPreconditionRequired {
		if err := json.Unmarshal(b, &a.problem); err != nil {
			t.Fatalf("status %d with the body %q", a.status, b)
		}
	}
	return a
}

func encode(t testing.TB, r *protocol.Request) io.Reader {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// attest is one round trip on a new connection.
func (l *lab) attest(t *testing.T, m *machine) answer {
	t.Helper()
	client, nonce := l.dial(t)
	return l.post(t, client, encode(t, m.request(t, nonce)))
}

// grant is a round trip that must succeed.
func (l *lab) grant(t *testing.T, m *machine) *protocol.Grant {
	t.Helper()
	client, nonce := l.dial(t)
	r := m.request(t, nonce)
	return m.open(t, r.Binding(nonce), l.post(t, client, encode(t, r)))
}

func (m *machine) open(t *testing.T, binding []byte, a answer) *protocol.Grant {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d: %+v", a.status, a.problem)
	}
	response, err := protocol.DecodeResponse(a.body)
	if err != nil {
		t.Fatal(err)
	}
	g, err := response.Open(binding, m.hpke, func(_, encrypted []byte) ([]byte, error) { return encrypted, nil })
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// record is a line of the audit log.
type record struct {
	Message, Decision, Code, Address, Node, Reason, Policy, Tier, EK, Image, Overlay, Certificate string
	OverlayVersion                                                                                uint64
	Bytes                                                                                         int64
	Milliseconds                                                                                  *float64 `json:"ms"`
	Time                                                                                          time.Time
	Msg, By, Action, Error, Stage, Health                                                         string
	Level                                                                                         any
}

// records are those of the audit log so far.
func (l *lab) records(t *testing.T) []record {
	t.Helper()
	var all []record
	d := json.NewDecoder(strings.NewReader(l.audit.String()))
	d.DisallowUnknownFields()
	for d.More() {
		var r record
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// last is the newest record.
func (l *lab) last(t *testing.T) record {
	t.Helper()
	all := l.records(t)
	if len(all) == 0 {
		t.Fatal("the audit log is empty")
	}
	return all[len(all)-1]
}

// wantRefused checks both sides of a refusal.
func (l *lab) wantRefused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.problem.Code != code || a.problem.Message == "" {
		t.Errorf("status %d with %+v, want %d with %s", a.status, a.problem, status, code)
	}
	decision := string(Refuse)
	if code == CodeQueued {
		decision = string(Queue)
	}
	if r := l.last(t); r.Code != code || r.Decision != decision || r.Reason == "" {
		t.Errorf("the audit log has %+v, want %s", r, code)
	}
}

// recorded is a request that came over no connection.
func (l *lab) recorded(t testing.TB, r *protocol.Request) (*httptest.ResponseRecorder, *http.Request) {
	t.Helper()
	return httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, protocol.Path, encode(t, r))
}
