package station_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/attest/view"
	"github.com/ember-os/ember/os/vm/vmtest"
)

var files = station.Unit("say.service", "[Service]\nExecStart=true\n")

func prepared(t *testing.T) *station.Station {
	t.Helper()
	c := station.Config{Dir: t.TempDir(), Attestd: vmtest.File(t, "ATTESTD"), Emberctl: vmtest.File(t, "EMBERCTL"), Page: true}
	c.Certificate, c.Key = certificate(t)
	s, err := station.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestStation starts a server twice. It is at the same addresses, and knows what it was told.
func TestStation(t *testing.T) {
	s := prepared(t)
	if err := s.Seal(t.Context(), files...); err != nil {
		t.Fatal(err)
	}
	const node = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	var addresses [2]string
	for i := range addresses {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		addresses[i] = s.Address() + " " + s.Page()
		page, err := http.Get("http://" + s.Page() + "/")
		if err != nil {
			t.Fatal(err)
		}
		page.Body.Close()
		if page.StatusCode != http.StatusOK {
			t.Errorf("the status page: %s", page.Status)
		}
		if i == 0 {
			if err := s.Operate(t.Context(), "enroll", node); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := s.Operators().Node(t.Context(), node); err != nil || n.State != view.Enrolled {
			t.Errorf("start %d: the machine is %+v, %v", i, n, err)
		}
		s.Stop()
		if c, err := net.Dial("tcp", s.Address()); err == nil {
			c.Close()
			t.Error("it was stopped, and listens")
		}
	}
	if addresses[0] != addresses[1] {
		t.Errorf("it was at %q", addresses)
	}
	if all, err := s.Verdicts("operator"); err != nil || len(all) != 1 || all[0].Node != node {
		t.Errorf("the audit log has %+v, %v", all, err)
	}
	s.Policy = "{name: wrong, tiers: [unheard]}"
	if err := s.Start(t.Context()); err == nil {
		s.Stop()
		t.Error("it starts with a policy that makes no sense")
	}
}

// TestSigners has an overlay by somebody else, which is served once the server is told to.
func TestSigners(t *testing.T) {
	s := prepared(t)
	other, err := s.Keygen(t.Context(), "others")
	if err != nil {
		t.Fatal(err)
	}
	if other == s.Signer {
		t.Errorf("both keys are %s", other)
	}
	if err := s.SealBy(t.Context(), "others", files...); err != nil {
		t.Fatal(err)
	}
	serves := func(version uint64) {
		t.Helper()
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		if o, err := s.Operators().Overlay(t.Context(), station.Rack); err != nil || o.Newest != version {
			t.Errorf("it serves version %d, not %d, %v", o.Newest, version, err)
		}
	}
	serves(0)
	s.Signers = append(s.Signers, other)
	serves(1)
	if err := s.Seal(t.Context(), files...); err != nil {
		t.Fatal(err)
	}
	serves(2)
}

func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
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
	return write("cert.pem", "CERTIFICATE", public), write("key.pem", "PRIVATE KEY", der)
}
