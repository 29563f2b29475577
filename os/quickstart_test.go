package os_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/cmd/attestd/attestdtest"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	quickstartPort     = "8443" // as the page has it
	quickstartPatience = 5 * time.Minute
	leave              = "\x01x" // Ctrl-A X
)

// bazelw stands for Bazel: what the page builds is there already.
const bazelw = `#!/bin/bash
[ "$1 $2" = "run //os:vm" ] && shift 3 && exec "$VM" --kernel "$KERNEL" --initrd "$INITRD" --root "$TEST_ROOT" "$@"
[ "$1" = build ] || { echo "bazelw $*: unknown"; exit 1; }
`

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")

// TestQuickstart runs the commands of docs/quickstart-attestation.md, all of them, as they are on the page but
// for the port, which something else may have.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(vmtest.File(t, "QUICKSTART"))
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, block := range shellBlock.FindAllStringSubmatch(string(page), -1) {
		script.WriteString(block[1])
	}
	repository, home := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(repository, "bazelw"), []byte(bazelw), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, program := range map[string]string{"attestd": "ATTESTD", "emberctl": "EMBERCTL"} {
		dir := filepath.Join(repository, "bazel-bin/attest/cmd", name, name+"_")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(vmtest.File(t, program), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", strings.ReplaceAll(script.String(), quickstartPort, attestdtest.FreePort(t)))
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), "HOME="+home)
	for _, file := range []string{"VM", "KERNEL", "INITRD", "TEST_ROOT"} {
		cmd.Env = append(cmd.Env, file+"="+vmtest.File(t, file))
	}
	// What is left of it ends with the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	keys, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, said := io.Pipe()
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	slow := time.AfterFunc(quickstartPatience, func() { cmd.Cancel() })
	defer slow.Stop()
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		said.Close()
	}()
	var all strings.Builder
	var attested stage.Line
	greeted, allowed := false, false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimRight(lines.Text(), "\r")
		fmt.Fprintln(&all, line)
		if l, ok := stage.Parse(line); ok && l.Name == stage.Attest {
			attested = l
		}
		if line == "ember: hello: This is for attested machines only." {
			greeted = true
			if _, err := io.WriteString(keys, leave); err != nil {
				t.Error(err)
			}
		}
		allowed = allowed || strings.Contains(line, `"decision":"`+string(server.Allow)+`"`) && strings.Contains(line, attested.Get("node"))
	}
	if err := <-ended; err != nil || !greeted || !allowed || attested.Get("tier") != string(protocol.Attested) || attested.Get("overlay") != "1" {
		t.Errorf("%v, greeted: %v, in the audit log: %v, %v\n%s", err, greeted, allowed, attested, &all)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
