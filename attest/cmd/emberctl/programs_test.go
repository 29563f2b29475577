package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestPrograms has both programs do what docs/emberctl.md and docs/attestd.md say: a server is set up, an operator
// comes to it, publishes an overlay, and is an operator no more.
func TestPrograms(t *testing.T) {
	attestd := vmtest.File(t, "ATTESTD")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("HOME", t.TempDir())
	run := func(program string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	emberctl := func(args ...string) string {
		t.Helper()
		out, err := run(self, args...)
		if err != nil {
			t.Fatalf("emberctl %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return out
	}
	emberctl("keygen", "--out", "keys")
	emberctl("keygen", "--operator", "ann")
	key, err := os.ReadFile("keys/" + keysFile)
	if err != nil {
		t.Fatal(err)
	}
	port := attestdtest.FreePort(t)
	config := fmt.Sprintf(`listen: 127.0.0.1:0
data: data
admin: a.sock
audit: audit.log
tls: {certificate: tls.pem, key: tls-key.pem}
operators: {listen: "127.0.0.1:%s", folder: operators}
overlays: {folder: overlays, identity: keys/attestd.identity, keys: [%q]}
`, port, strings.TrimSpace(string(key)))
	for _, dir := range []string{"operators", "overlays", "sealed", "tree/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("attestd.yaml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename("ann.pem", "operators/ann.pem"); err != nil {
		t.Fatal(err)
	}
	said, err := run(attestd, "certificate", "127.0.0.1")
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	pin := regexp.MustCompile(`sha256:\S+`).FindString(said)
	if out, err := run(attestd, "check", "--config", "attestd.yaml"); err != nil {
		t.Fatalf("attestd check: %v: %s", err, out)
	}
	server := exec.Command(attestd, "serve", "--config", "attestd.yaml")
	log := new(bytes.Buffer)
	server.Stderr = log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(os.Interrupt)
		if err := server.Wait(); err != nil {
			t.Errorf("attestd ends with %v: %s", err, log)
		}
	})
	address := "https://127.0.0.1:" + port
	emberctl("context", "set", "rack", "--server", address, "--pin", pin, "--operator", "ann.key")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		out, err := run(self, "queue")
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	emberctl("seal", "tree", "--name", "rack", "--key", "keys/signing.key", "--recipient", "keys/attestd.recipient", "--out", "sealed")
	if out := emberctl("overlay", "publish", "sealed/rack"); out != "published version 1 of overlay rack\n" {
		t.Errorf("publish says %q", out)
	}
	if out := emberctl("overlay", "list"); !strings.Contains(out, "published") {
		t.Errorf("list says %q", out)
	}
	emberctl("enroll", good, "--note", "rack 4")
	if out := emberctl("nodes", "--server", "unix:a.sock"); !strings.Contains(out, short(good)) {
		t.Errorf("nodes, at the socket, says %q", out)
	}
	audit, err := os.ReadFile("audit.log")
	if err != nil || !bytes.Contains(audit, []byte(`"by":"ann","action":"enroll"`)) || !bytes.Contains(audit, []byte(`"by":"ann","action":"overlay-publish","overlay":"rack","overlayVersion":1`)) {
		t.Errorf("audit log: %s, %v", audit, err)
	}
	if err := os.Remove("operators/ann.pem"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := run(self, "nodes")
		if err != nil {
			if !strings.Contains(out, "does not know this operator's key") {
				t.Errorf("%v: %s", err, out)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the operator's key opens the server still")
		}
	}
}
