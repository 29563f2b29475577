package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 500, time.UTC)

// workplace has keys, and a tree to seal.
func workplace(t *testing.T) (dir string, s sealing) {
	t.Helper()
	dir = t.TempDir()
	if err := keygen(io.Discard, dir, ""); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir+"/tree/etc", 0o755), os.WriteFile(dir+"/tree/etc/motd", []byte("hello"), 0o644),
		os.Symlink("motd", dir+"/tree/etc/issue")); err != nil {
		t.Fatal(err)
	}
	return dir, sealing{name: "rack", key: dir + "/signing.key", recipients: []string{dir + "/attestd.recipient"}, out: dir}
}

func sealed(t *testing.T, dir string, s sealing) {
	t.Helper()
	if err := s.run(t.Context(), io.Discard, dir+"/tree", now); err != nil {
		t.Fatal(err)
	}
}

func TestKeygen(t *testing.T) {
	dir, _ := workplace(t)
	for file, mode := range map[string]os.FileMode{signingFile: 0o600, identityFile: 0o600, keysFile: 0o644, recipientFile: 0o644} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode()&^0o644 != 0 || info.Mode()&0o077 != 0 && mode == 0o600 {
			t.Errorf("%s has the mode %v, %v", file, info.Mode(), err)
		}
	}
	if err := keygen(io.Discard, dir, ""); err == nil || !strings.Contains(err.Error(), "not replaced") {
		t.Errorf("with keys there the error is %v", err)
	}
}

func TestKeyFile(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	say := func(word string) func() (string, error) { return func() (string, error) { return word, nil } }
	for _, word := range []string{"", "correct horse"} {
		text, err := formatKey(key, word, 10)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseKey(text, say(word)); err != nil || !back.Equal(key) {
			t.Errorf("with passphrase %q: %v", word, err)
		}
		if _, err := parseKey(text, say("wrong")); (err == nil) != (word == "") {
			t.Errorf("with a wrong passphrase: %v", err)
		}
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseKey(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil); err == nil {
		t.Error("an ECDSA key signs overlays")
	}
}

func TestReadLine(t *testing.T) {
	in := strings.NewReader("one\r\ntwo three\n")
	for _, want := range []string{"one", "two three"} {
		if got, err := readLine(t.Context(), in); err != nil || got != want {
			t.Errorf("the line is %q, %v", got, err)
		}
	}
	if got, err := readLine(t.Context(), in); err == nil {
		t.Errorf("behind the end is %q", got)
	}
}
