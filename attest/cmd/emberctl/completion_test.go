package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// TestCompletion has shells look at the scripts, those that are here, and asks for names as the scripts do.
func TestCompletion(t *testing.T) {
	d := sit(t)
	d.fleet(t)
	if err := os.Mkdir("sealed", 0o755); err != nil {
		t.Fatal(err)
	}
	d.publish(t, "one")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := d.ok(t, "completion", shell)
		if !strings.Contains(script, "emberctl") {
			t.Errorf("the script for %s is %q", shell, script)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("no %s is here", shell)
			continue
		}
		cmd := exec.Command(path, "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("%s: %v: %s", shell, err, out)
		}
	}
	for args, want := range map[string]string{
		"approve ":               stranger + "\tS-3",
		"revoke a1":              good + "\tattested, note rack 4",
		"node ":                  stolen,
		"overlay rollback ":      "rack",
		"overlay rollback rack ": "1\tof 20",
		"nodes --context ":       "rack",
		"nodes --state w":        "waiting",
		"context use ":           "rack",
		"completion ":            "fish",
		"policy check x --tier ": "attested",
		"policy check x --node ": good,
	} {
		words := strings.Split(args, " ")
		if got := d.ok(t, append([]string{"__complete"}, words...)...); !strings.Contains(got, want) {
			t.Errorf("%q is completed with %q", args, got)
		}
	}
}

// TestCompletionOfMany completes the name of a machine that is behind the first page of them.
func TestCompletionOfMany(t *testing.T) {
	d := sit(t)
	for i := range admin.Page + 1 {
		if err := d.registry.Enroll(t.Context(), fmt.Sprintf("%064x", i), "", "ann"); err != nil {
			t.Fatal(err)
		}
	}
	last := fmt.Sprintf("%064x", admin.Page)
	if got := d.ok(t, "__complete", "node", last[:63]); !strings.Contains(got, last) {
		t.Errorf("the last one is completed with %q", got)
	}
	if got := d.ok(t, "__complete", "node", "00"); strings.Contains(got, last[:61]) || !strings.Contains(got, "more than 500 machines") {
		t.Errorf("the beginning of all is completed with %.300q", got)
	}
}

// tab presses Tab behind the line that is $1, and prints what there is to choose from. The first function stands for
// that of the package bash-completion, and the second for the builtin, which is only there while one types.
const tab = `
source <(emberctl completion bash)
COLUMNS=200 COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<<"$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_get_comp_words_by_ref() {
	words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
}
compopt() { :; }
__start_emberctl 2>&1
printf '%s\n' "${COMPREPLY[@]}"
`

// TestTab completes in bash with the real program. What machines say of themselves is shown, and nothing more.
func TestTab(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	d := sit(t)
	d.fleet(t)
	hostile := store.Waiting{Node: strings.Repeat("c4", 32), Claims: protocol.Claims{Serial: "`touch pwned` $(touch pwned); touch pwned\ntouch pwned"}}
	if _, err := d.registry.Enqueue(t.Context(), hostile, 9); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("bin", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("bin/emberctl", []byte("#!"+bash+"\n"+asProgram+"=1 exec "+self+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", filepath.Join(d.dir, "bin")+":"+os.Getenv("PATH"))
	for line, want := range map[string][]string{
		"emberctl app":             {"approve"},
		"emberctl approve ":        {stranger, hostile.Node, "touch pwned"},
		"emberctl approve c4":      {hostile.Node},
		"emberctl node a1":         {good},
		"emberctl nodes --state r": {"revoked"},
		"emberctl queue --js":      {"--json"},
	} {
		out, err := exec.CommandContext(t.Context(), bash, "--norc", "-c", tab, "bash", line).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %v: %s", line, err, out)
		}
		for _, w := range want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%q is completed with %q", line, out)
			}
		}
	}
	if _, err := os.Stat("pwned"); err == nil {
		t.Error("a machine has run a command")
	}
}
