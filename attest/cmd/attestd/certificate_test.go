package main

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/os/cmdline"
)

func TestCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "next") // which it makes
	now := time.Now()
	var said strings.Builder
	if err := makeCertificate(&said, dir, []string{"attest.example", "192.0.2.1", "2001:db8::1"}, now); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/tls.pem", dir+"/tls-key.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"attest.example", "192.0.2.1", "2001:db8::1"} {
		if err := pair.Leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
	if pair.Leaf.NotBefore.After(now) || pair.Leaf.NotAfter.Before(now.AddDate(9, 0, 0)) || pair.Leaf.IsCA {
		t.Errorf("it is %+v", pair.Leaf)
	}
	if want := cmdline.AttestPinParam + "=" + client.PinOf(pair.Leaf).String(); !strings.Contains(said.String(), want) {
		t.Errorf("it says %q without %s", &said, want)
	}
	if info, err := os.Stat(dir + "/tls-key.pem"); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key is %v, %v", info, err)
	}
	if err := makeCertificate(&said, dir, nil, now); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("a second time: %v", err)
	}
}
