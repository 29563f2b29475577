// Package cni_test asks the CNI plugins of the image for their versions.
package cni_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
)

// needed is what containerd, nerdctl and Tinkerbell's agent call.
var needed = []string{"bridge", "firewall", "host-local", "loopback", "portmap", "tuning"}

func TestPlugins(t *testing.T) {
	program := vmtest.File(t, "CNI")
	plugins, dir := strings.Fields(os.Getenv("PLUGINS")), t.TempDir()
	for _, plugin := range needed {
		if !slices.Contains(plugins, plugin) {
			t.Errorf("%s is missing", plugin)
		}
	}
	for _, plugin := range plugins {
		link := filepath.Join(dir, plugin)
		if err := os.Symlink(program, link); err != nil {
			t.Fatal(err)
		}
		about, err := exec.CommandContext(t.Context(), link).CombinedOutput()
		if want := "CNI " + plugin + " plugin " + os.Getenv("VERSION") + "\n"; err != nil || !strings.HasPrefix(string(about), want) {
			t.Errorf("%s calls itself %q, %v, want %q", plugin, about, err, want)
		}
		command := exec.CommandContext(t.Context(), link)
		command.Env = []string{"CNI_COMMAND=VERSION"}
		out, err := command.Output()
		var answer struct{ SupportedVersions []string }
		if err != nil {
			t.Errorf("%s: %v", plugin, err)
		} else if err := json.Unmarshal(out, &answer); err != nil || !slices.Contains(answer.SupportedVersions, "1.0.0") {
			t.Errorf("%s answers %q, %v", plugin, out, err)
		}
	}
}
