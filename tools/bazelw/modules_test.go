package bazelw

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestModules: whoever has the registry and whoever has the private root build with the same modules, each by hash.
func TestModules(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var lock struct {
		RegistryFileHashes map[string]*string `json:"registryFileHashes"`
	}
	locked := read("MODULE.bazel.lock")
	if len(locked) == 0 {
		t.Log("the private root hides MODULE.bazel.lock: its hashes are looked at by go test, and with bazelisk")
	} else if err := json.Unmarshal(locked, &lock); err != nil {
		t.Fatal(err)
	}
	hashed := func(path string) bool {
		if len(locked) == 0 {
			return true
		}
		for url, hash := range lock.RegistryFileHashes {
			if strings.HasSuffix(url, path) {
				return hash != nil && len(*hash) == 64
			}
		}
		return false
	}
	private := map[string]string{}
	for line := range strings.Lines(string(read("tools/bazelw/modules.txt"))) {
		if f := strings.Fields(line); len(f) == 4 && f[0] != "#" {
			private[f[0]] = strings.TrimPrefix(f[2], "v")
		}
	}
	deps := regexp.MustCompile(`(?m)^bazel_dep\(name = "(.*)", version = "(.*)"\)$`).FindAllStringSubmatch(string(read("MODULE.bazel")), -1)
	if len(deps) < 4 || len(deps) != strings.Count(string(read("MODULE.bazel")), "bazel_dep(") {
		t.Fatalf("the modules that MODULE.bazel needs were read as %q", deps)
	}
	for _, d := range deps {
		name, version := d[1], d[2]
		for _, file := range []string{"MODULE.bazel", "source.json"} {
			if path := "/modules/" + name + "/" + version + "/" + file; !hashed(path) {
				t.Errorf("MODULE.bazel.lock has no hash of %s", path)
			}
		}
		if v, ok := private[name]; ok && v != version {
			t.Errorf("%s is %s in MODULE.bazel and %s in modules.txt", name, version, v)
		}
		delete(private, name)
	}
	for name := range private {
		if module, _, part := strings.Cut(name, "/"); !part {
			t.Errorf("modules.txt has %s, which MODULE.bazel does not need", module)
		}
	}
	if v := regexp.MustCompile(`bazelbuild/rules_go v(\S+)`).FindSubmatch(read("go.mod")); v == nil || !strings.Contains(string(read("MODULE.bazel")), `"rules_go", version = "`+string(v[1])+`"`) {
		t.Errorf("go.mod has another rules_go: %s", v)
	}
}
