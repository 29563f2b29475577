package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/client"
)

func TestTrust(t *testing.T) {
	d := sit(t)
	d.ok(t, "queue")
	d.ok(t, "queue", "--ca", "server.pem") // in the place of the context's pin
	other := client.PinOf(selfSigned(t).Leaf).String()
	d.no(t, failed, "compare the pin", "queue", "--pin", other)
	d.no(t, failed, "not trusted", "queue", "--ca", "operators/ann.pem")
	d.no(t, failed, "no certificate in PEM", "queue", "--ca", "keys/overlay.keys")
	d.no(t, failed, "a pin is", "queue", "--pin", "sha256:short")
	d.no(t, failed, "not both", "queue", "--pin", other, "--ca", "server.pem")
	d.no(t, failed, "does it listen there", "queue", "--server", "https://127.0.0.1:1")
	d.no(t, failed, "not of the form", "queue", "--server", "http://127.0.0.1:1")
	d.no(t, failed, "both a private key and its certificate", "queue", "--operator", "operators/ann.pem")
	d.no(t, failed, "no such file", "queue", "--server", "unix:none.sock")
	d.no(t, failed, "no such file", "queue", "--server", "unix:none.sock", "--config", "keys/overlay.keys") // it is not read

	d.ok(t, "keygen", "--operator", "eve")
	d.no(t, refused, "for its folder of operators", "queue", "--operator", "eve.key")
	// A key that is taken away opens nothing any longer.
	if err := os.Rename("operators/ann.pem", "ann.pem"); err != nil {
		t.Fatal(err)
	}
	d.know(t)
	d.no(t, refused, "does not know this operator's key", "revoke", good, "--yes")
	if err := os.Rename("ann.pem", "operators/ann.pem"); err != nil {
		t.Fatal(err)
	}
	d.know(t)
	d.ok(t, "queue")
}

func TestEnvironment(t *testing.T) {
	d := sit(t)
	t.Setenv(contextVariable, "none")
	d.no(t, notFound, "emberctl context list", "queue")
	d.ok(t, "queue", "--context", "rack")
	t.Setenv(contextVariable, "")
	for variable, says := range map[string]string{
		serverVariable: "not of the form", pinVariable: "a pin is", caVariable: "no such file", operatorVariable: "no such file",
	} {
		t.Setenv(variable, "nonsense")
		d.no(t, failed, says, "queue")
		os.Unsetenv(variable)
	}
	t.Setenv(configVariable, filepath.Join(d.dir, "none"))
	d.no(t, failed, "emberctl context set", "queue")
}

func TestContexts(t *testing.T) {
	d := sit(t)
	d.ok(t, "context", "set", "here", "--server", "unix:/run/attestd.sock")
	d.ok(t, "context", "use", "here")
	d.ok(t, "context", "set", "rack", "--server", "https://attest.example:8444", "--pin", "sha256:"+strings.Repeat("0", 64))
	text := strings.ReplaceAll(d.ok(t, "context", "list"), d.dir, "/home/ann")
	golden(t, "contexts.golden", text)
	golden(t, "contexts.json", strings.ReplaceAll(d.ok(t, "context", "list", "--json"), d.dir, "/home/ann"))
	d.no(t, notFound, `"none"`, "context", "use", "none")
	d.no(t, notFound, `"none"`, "context", "remove", "none", "--yes")
	d.no(t, refused, "with --yes it is done", "context", "remove", "here")
	d.ok(t, "context", "remove", "here", "--yes")
	d.no(t, failed, "no attestation server", "queue")
	d.no(t, wrongCall, "not a context's name", "context", "set", "a b", "--server", "unix:/s")
	d.no(t, wrongCall, "not of the form", "context", "set", "a", "--pin", "sha256:x")
	d.no(t, wrongCall, "a pin is", "context", "set", "a", "--server", "https://a", "--pin", "x")
	info, err := os.Stat("config/ember/emberctl.yaml")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if err := os.WriteFile("config/ember/emberctl.yaml", []byte("curent: x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.no(t, failed, "emberctl.yaml", "context", "list")
}
