package verify_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

// exporters gives what the two ends of a new TLS connection are bound by.
func exporters(t *testing.T) [2][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"attestd"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	config := &tls.Config{
		MinVersion:         tls.VersionTLS13,
		Certificates:       []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		InsecureSkipVerify: true, // who is there is not what is tested
	}
	ends := [2]*tls.Conn{tls.Client(a, config), tls.Server(b, config)}
	done := make(chan error, 1)
	go func() { done <- ends[1].Handshake() }()
	if err := ends[0].Handshake(); err != nil {
		t.Fatal(err)
	}
	go ends[0].Read(make([]byte, 1)) // the server sends tickets
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var values [2][]byte
	for i, end := range ends {
		state := end.ConnectionState()
		if values[i], err = state.ExportKeyingMaterial(protocol.ExporterLabel, nil, protocol.NonceSize); err != nil {
			t.Fatal(err)
		}
	}
	return values
}
