package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/etcd/etcdtest"
	"github.com/ember-os/ember/attest/tpm"
)

// post sends a request and gives the answer's status and, if it is a refusal, its code.
func post(t *testing.T, p *spawned, body []byte) (status int, code string, answer []byte) {
	resp, err := http.Post("http://"+p.Address+protocol.Path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	var problem protocol.Problem
	json.Unmarshal(answer, &problem)
	return resp.StatusCode, problem.Code, answer
}

// answered is a request that answers a challenge of the server.
func answered(t *testing.T, p *spawned, machine *tpm.Session) []byte {
	t.Helper()
	key, err := protocol.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(nonce []byte) []byte {
		r, err := machine.Request(nonce, key.PublicKey().Bytes(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Nonce = nonce
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	status, code, answer := post(t, p, ask(nil))
	var c protocol.Challenge
	if err := json.Unmarshal(answer, &c); err != nil || status != http.StatusPreconditionRequired {
		t.Fatalf("status %d, %s, %v", status, code, err)
	}
	return ask(c.Nonce)
}

// No nonce is accepted twice: not by both servers at the same time, nor later by any.
func TestNonceOnce(t *testing.T) {
	machine := session(t, "one")
	cluster := etcdtest.Start(t, 1, nil)
	s := newSite(t, cluster[0].Endpoint())
	servers := []*spawned{s.server(t, "a", challenged), s.server(t, "b", challenged)}
	for i := range 12 {
		request := answered(t, servers[i%2], machine)
		const each = 3
		results := make([]string, each*len(servers))
		var all sync.WaitGroup
		for i := range results {
			all.Go(func() {
				status, code, _ := post(t, servers[i%len(servers)], request)
				results[i] = fmt.Sprint(status, " ", code)
			})
		}
		all.Wait()
		slices.Sort(results)
		if results[0] != "200 " || results[1] != "403 "+server.CodeNonceUsed || results[1] != results[len(results)-1] {
			t.Fatalf("%q", results)
		}
		for _, p := range servers {
			if status, code, _ := post(t, p, request); status != http.StatusForbidden || code != server.CodeNonceUsed {
				t.Errorf("later: %d %s", status, code)
			}
		}
	}
}

// used tells whether a nonce is used up.
func (s *site) used(t *testing.T, nonce []byte) bool {
	t.Helper()
	all, err := s.store.List(t.Context(), "", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(all, func(e store.Entry) bool { return strings.HasSuffix(e.Key, hex.EncodeToString(nonce)) })
}

// A server is killed after it has written that a nonce is used, and before it knows that it was written.
func TestServerKilledWriting(t *testing.T) {
	machine := session(t, "one")
	cluster := etcdtest.Start(t, 1, nil)
	s := newSite(t, cluster[0].Endpoint())
	link := balance(t, strings.Replace(cluster[0].Endpoint(), "unix://", "unix:", 1))
	a, b := s.server(t, "a", challenged, "http://"+link.address()), s.server(t, "b", challenged)
	if status, code, _ := post(t, a, answered(t, a, machine)); status != http.StatusOK {
		t.Fatalf("before: %d %s", status, code) // and now it has a lease for nonces
	}
	_, granted, err := s.registry.Last(t.Context(), machine.Node())
	if err != nil {
		t.Fatal(err)
	}
	request := answered(t, a, machine)
	var sent protocol.Request
	if err := json.Unmarshal(request, &sent); err != nil {
		t.Fatal(err)
	}
	link.hold()
	cut := make(chan error, 1)
	go func() {
		resp, err := http.Post("http://"+a.Address+protocol.Path, "application/json", bytes.NewReader(request))
		if err == nil {
			resp.Body.Close()
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		cut <- err
	}()
	await(t, "that the nonce is used", func() bool { return s.used(t, sent.Nonce) })
	a.Kill()
	if err := <-cut; !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "connection reset") {
		t.Errorf("the machine that was cut off: %v", err)
	}
	if status, code, _ := post(t, b, request); status != http.StatusForbidden || code != server.CodeNonceUsed {
		t.Errorf("the same again: %d %s", status, code)
	}
	if _, revision, err := s.registry.Last(t.Context(), machine.Node()); err != nil || revision != granted {
		t.Errorf("a grant of revision %d was noted, %v", revision, err)
	}
	if status, code, _ := post(t, b, answered(t, b, machine)); status != http.StatusOK {
		t.Errorf("the next attempt: %d %s", status, code)
	}
	link.release()
}
