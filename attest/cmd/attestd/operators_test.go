package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/overlaytest"
)

const remote = minimal + "operators: {listen: \"127.0.0.1:0\", folder: operators}\n"

// keygen makes an operator's key, and puts the public half into a folder.
func keygen(t *testing.T, folder, name string) *tls.Certificate {
	t.Helper()
	private, public, err := operator.NewIdentity(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, name+operator.Extension), public)
	pair, err := tls.X509KeyPair(private, private)
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

// operator is ann, or whoever has that key, who trusts that certificate.
func (r *running) operator(t *testing.T, certificate *x509.Certificate, identity *tls.Certificate) *admin.Client {
	t.Helper()
	c := admin.Remote(&url.URL{Scheme: "https", Host: r.remote}, client.Trust{Pins: []client.Pin{client.PinOf(certificate)}}, identity)
	t.Cleanup(c.HTTP.CloseIdleConnections)
	return c
}

// machine is a client as machines are, to whom the server's certificate does not matter here.
func (r *running) machine(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestRemoteOperators(t *testing.T) {
	r, certificate := begin(t, remote, func(t *testing.T) { writeFile(t, "operators/README.pem", nil) })
	if !strings.Contains(r.log.String(), "README.pem: it has no certificate") {
		t.Errorf("log: %s", r.log)
	}
	ann, bob := keygen(t, "operators", "ann"), keygen(t, "operators", "bob")
	r.reload(t, "msg=reloaded")
	asAnn := r.operator(t, certificate.certificate, ann)
	node := strings.Repeat("a", 64)
	if err := asAnn.Revoke(t.Context(), node, ""); err != nil {
		t.Fatal(err)
	}
	asBob := r.operator(t, certificate.certificate, bob)
	if err := asBob.Forget(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("audit.log")
	if err != nil || !bytes.Contains(b, []byte(`"by":"ann","action":"revoke"`)) || !bytes.Contains(b, []byte(`"by":"bob","action":"forget"`)) {
		t.Errorf("audit log: %s, %v", b, err)
	}

	t.Run("a key that nobody has", func(t *testing.T) {
		_, err := r.operator(t, certificate.certificate, keygen(t, t.TempDir(), "zoe")).Queue(t.Context())
		if !errors.Is(err, admin.ErrUnknownOperator) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no key", func(t *testing.T) {
		c := r.operator(t, certificate.certificate, new(tls.Certificate))
		if _, err := c.Queue(t.Context()); !errors.Is(err, admin.ErrUnknownOperator) {
			t.Errorf("%v", err)
		}
	})
	t.Run("a wrong pin", func(t *testing.T) {
		_, err := r.operator(t, newIssuer(t, "other", nil).certificate, ann).Queue(t.Context())
		if _, ok := errors.AsType[*client.Untrusted](err); !ok {
			t.Errorf("%v", err)
		}
	})
	t.Run("no copy of the store", func(t *testing.T) {
		if err := asAnn.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%v", err)
		}
	})
	t.Run("machines are no operators", func(t *testing.T) {
		resp, err := r.machine(t).Get("https://" + r.address + "/v1/queue")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("at the machines' address the status is %s", resp.Status)
		}
	})
	t.Run("another site", func(t *testing.T) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, asAnn.URL+"/v1/machines/"+node+"/revoke", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		resp, err := asAnn.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("the status is %s", resp.Status)
		}
	})
	// Bob's connection is open still; a new one is refused as well. That something else is wrong keeps nobody in.
	if err := os.Remove("operators/bob.pem"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "tls.pem", []byte("nonsense"))
	r.reload(t, "all stays as it was")
	for _, c := range []*admin.Client{asBob, r.operator(t, certificate.certificate, bob)} {
		if _, err := c.Queue(t.Context()); !errors.Is(err, admin.ErrUnknownOperator) {
			t.Errorf("after his key was taken away: %v", err)
		}
	}
	if _, err := asAnn.Queue(t.Context()); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll("operators"); err != nil {
		t.Fatal(err)
	}
	r.reload(t, "all stays as it was")
	if _, err := asAnn.Queue(t.Context()); !errors.Is(err, admin.ErrUnknownOperator) {
		t.Errorf("without the folder: %v", err)
	}
}

func TestOperatorsNeedARestart(t *testing.T) {
	r, _ := begin(t, minimal)
	if err := os.Mkdir("operators", 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, "attestd.yaml", []byte(remote))
	r.reload(t, "needs a restart")
}

// TestOverlayPublish publishes an overlay to a server that runs: the next machine gets it.
func TestOverlayPublish(t *testing.T) {
	overlay := overlaytest.New(t)
	r, certificate := begin(t, fmt.Sprintf("%soverlays: {folder: overlays, identity: identity.txt, keys: [%q], keep: 1}\n", remote, overlay.Key().String()), func(t *testing.T) {
		writeFile(t, "operators/.keep", nil)
		writeFile(t, "overlays/.keep", nil)
		writeFile(t, "identity.txt", []byte(overlay.Server.String()+"\n"))
	})
	ann := keygen(t, "operators", "ann")
	r.reload(t, "msg=reloaded")
	c := r.operator(t, certificate.certificate, ann)
	for version := uint64(1); version <= 2; version++ {
		if _, err := c.Publish(t.Context(), "rack", overlay.Folder(t, overlaytest.Manifest("rack", version), "hi"), nil); err != nil {
			t.Fatal(err)
		}
		resp, err := r.machine(t).Get(fmt.Sprintf("https://%s/v1/overlay/rack/%d", r.address, version))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("a machine that fetches version %d has the status %s", version, resp.Status)
		}
	}
	if _, err := c.Downgrade(t.Context(), "rack", 1); err != nil {
		t.Error(err)
	}
	// What else is wrong with the configuration keeps the overlay from being used, and that is said.
	writeFile(t, "attestd.yaml", []byte("nonsense: 1\n"))
	if _, err := c.Publish(t.Context(), "rack", overlay.Folder(t, overlaytest.Manifest("rack", 3), "hi"), nil); err == nil || !strings.Contains(err.Error(), "the server's log says why") {
		t.Errorf("with a configuration that is none: %v", err)
	}
}
