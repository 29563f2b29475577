package os_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/verify"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// recorder ends TLS before a server that has challenges, with the certificate that machines trust, and keeps
// all that is said. It can say the same again instead of asking the server.
type recorder struct {
	site *site

	mu       sync.Mutex
	said     []exchange // about attestation
	replayed int        // how many of what was said were said again
	again    bool
}

type exchange struct {
	request []byte
	status  int
	answer  []byte
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again = r.again && r.replayed < len(r.said); r.again {
		e := r.said[r.replayed]
		r.replayed++
		w.WriteHeader(e.status)
		w.Write(e.answer)
		return
	}
	passed, err := http.NewRequestWithContext(request.Context(), request.Method, "http://"+r.site.Address()+request.URL.Path, bytes.NewReader(body))
	if err != nil {
		return
	}
	passed.Header = request.Header
	response, err := http.DefaultTransport.RoundTrip(passed)
	if err != nil {
		return
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return
	}
	if request.URL.Path == protocol.Path {
		r.said = append(r.said, exchange{body, response.StatusCode, answer})
	}
	w.WriteHeader(response.StatusCode)
	w.Write(answer)
}

// sayAgain has the recorder answer the next requests as it answered those before.
func (r *recorder) sayAgain() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again = true
	return r.said
}

// TestAttestReplay says again what was said in an earlier boot: to the server, which has given challenges or
// binds quotes to connections, and to the machine.
func TestAttestReplay(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(greeting(s.lab.CA())...)
	s.Binding = station.Challenge
	s.serve()
	cert, key := s.lab.Certificate()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{site: s}
	between := &http.Server{Handler: r}
	t.Cleanup(func() { between.Close() })
	go between.Serve(tls.NewListener(s.lab.Listen("tcp", attestAddress), &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}))

	c := s.machine(vm.TIS)
	c.Dir = t.TempDir()
	first := vmtest.Start(t, c)
	node := await(first, stage.Attest).Get("node")
	first.Close()
	said := r.sayAgain()
	if len(said) != 2 || said[0].status != http.StatusPreconditionRequired || said[1].status != http.StatusOK {
		t.Fatalf("%d requests were made", len(said))
	}
	m := vmtest.Start(t, c)
	says(m, noAnswer+"activating the credential")
	// Nobody says the same again any more.
	if line := await(m, stage.Attest); line.Get("node") != node || line.Get("tier") != string(protocol.Attested) {
		t.Errorf("the stage is %v", line)
	}

	recorded := said[1].request
	s.refuses(http.DefaultClient, "http://", recorded, server.CodeNonceUsed)
	s.Stop()
	s.Binding = station.Connection
	s.serve()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.lab.CA())
	overTLS := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: lab.ServerName}}}
	s.refuses(overTLS, "https://", recorded, server.CodeNonceUnexpected)
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(recorded, &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "nonce")
	bare, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(overTLS, "https://", bare, verify.QuoteBinding)
}

// refuses sends a request to the server itself, which must refuse it for a reason.
func (s *site) refuses(c *http.Client, scheme string, request []byte, code string) {
	s.t.Helper()
	response, err := c.Post(scheme+s.Address()+protocol.Path, "application/json", bytes.NewReader(request))
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	var p protocol.Problem
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil || p.Code != code || response.StatusCode < 400 || response.StatusCode > 499 {
		s.t.Errorf("the server answers %s, %+v, %v, not %s", response.Status, p, err, code)
	}
	if v := s.last(); v.Decision != server.Refuse || v.Code != code {
		s.t.Errorf("the server's log has %+v, not %s", v, code)
	}
}
