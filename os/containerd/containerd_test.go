package containerd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/logline"
	"github.com/pelletier/go-toml/v2"
)

// newMachine is a machine with a kernel command line, whose log is kept. Nothing may
// be mounted.
func newMachine(t *testing.T, line string) (machine, *bytes.Buffer) {
	t.Helper()
	config, errs := cmdline.Parse(line)
	if errs != nil {
		t.Fatal(errs)
	}
	var log bytes.Buffer
	m := machine{root: t.TempDir(), config: config, log: logline.New(&log, slog.LevelInfo)}
	m.disk = func(context.Context, *slog.Logger, cmdline.Disk, string) error {
		t.Error("a disk is mounted")
		return errors.New("no disk")
	}
	for _, s := range sysctls {
		m.put(t, "/proc/sys/"+s.name, "0\n")
	}
	return m, &log
}

func (m machine) put(t *testing.T, path, text string) {
	t.Helper()
	path = m.path(path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (m machine) get(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(m.path(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (m machine) writeAll(t *testing.T) {
	t.Helper()
	for _, f := range m.files() {
		if err := m.write(f); err != nil {
			t.Fatal(err)
		}
	}
}

// everything is a command line with all that we read.
const everything = "tink_worker_image=quay.io/tinkerbell/tink-agent:v1 docker_registry=reg.example.com:5000/tink registry_username=robot$ci " +
	"registry_password=hunter2 insecure_registries=10.0.0.1:5000,2001:db8::1,[2001:db8::2]:5000 " +
	"ember.mirror=docker.io=10.0.0.1:5000,https://harbor.example.com/v2/hub ember.mirror=ghcr.io=reg.example.com:5000"

// TestCRI has CRI on machines that may have a kubelet.
func TestCRI(t *testing.T) {
	for line, want := range map[string]bool{"": true, "ember.workload=services": true, everything: false} {
		m, _ := newMachine(t, line)
		m.writeAll(t)
		if off := strings.Contains(m.get(t, "/etc/containerd/config.toml"), `disabled_plugins = ["io.containerd.grpc.v1.cri"]`); off == want {
			t.Errorf("%q: CRI is off: %t", line, off)
		}
	}
}

// TestGolden compares all files with testdata/files.txt.
func TestGolden(t *testing.T) {
	m, _ := newMachine(t, everything)
	m.writeAll(t)
	var list strings.Builder
	err := filepath.WalkDir(m.path("/etc"), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var any map[string]any
		if err := toml.Unmarshal(text, &any); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		list.WriteString("==> " + strings.TrimPrefix(path, m.root) + " " + info.Mode().String() + "\n" + string(text) + "\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/files.txt")
	if err != nil {
		t.Fatal(err)
	}
	if list.String() != string(want) {
		t.Errorf("the files are not those of testdata/files.txt but:\n%s", list.String())
	}
}

func TestOthersFiles(t *testing.T) {
	const theirs = "version = 3\n"
	m, log := newMachine(t, "insecure_registries=a,b")
	m.put(t, "/etc/containerd/config.toml", theirs)
	m.put(t, hostsDir+"/a/hosts.toml", "")
	m.put(t, hostsDir+"/b/hosts.toml", mark+"old")
	m.writeAll(t)
	if got := m.get(t, "/etc/containerd/config.toml") + m.get(t, hostsDir+"/a/hosts.toml"); got != theirs {
		t.Errorf("others' files became %q", got)
	}
	if got := m.get(t, hostsDir+"/b/hosts.toml"); got != mark+"server = \"http://b\"\n" {
		t.Errorf("ours became %q", got)
	}
	if got := log.String(); got != "<6>leaving a file alone file=/etc/containerd/config.toml\n<6>leaving a file alone file=/etc/containerd/certs.d/a/hosts.toml\n" {
		t.Errorf("logged %q", got)
	}
	before, err := os.Stat(m.path(hostsDir, "b/hosts.toml"))
	if err != nil {
		t.Fatal(err)
	}
	m.writeAll(t)
	if after, _ := os.Stat(m.path(hostsDir, "b/hosts.toml")); !os.SameFile(before, after) {
		t.Error("a file is written again")
	}
	if err := os.Remove(m.path("/etc/nerdctl/nerdctl.toml")); err != nil {
		t.Fatal(err)
	}
	m.put(t, "/etc/nerdctl/nerdctl.toml/in-the-way", "")
	if err := m.write(m.files()[1]); err == nil {
		t.Error("a directory was replaced by a file")
	}
}

func TestHosts(t *testing.T) {
	basic := func(credentials string) string {
		return "Authorization = [\"Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)) + "\"]\n"
	}
	for _, tt := range []struct {
		line string
		want map[string]string // the registries' files
	}{
		{"", nil},
		{"docker_registry=a registry_username= registry_password=", nil},
		{"registry_username=u registry_password=p", nil},
		{"insecure_registries=a:5000,a:5000", map[string]string{"a:5000": "server = \"http://a:5000\"\n"}},
		{"insecure_registries=2001:db8::1", map[string]string{"[2001:db8::1]": "server = \"http://[2001:db8::1]\"\n"}},
		{"docker_registry=a.b/c registry_username=u registry_password=p", map[string]string{"a.b": "server = \"https://a.b\"\n\n[header]\n" + basic("u:p")}},
		{`docker_registry=a registry_username="u é" registry_password="p\"'"`, map[string]string{"a": "server = \"https://a\"\n\n[header]\n" + basic(`u é:p\"'`)}},
		{"docker_registry=a registry_password=p", map[string]string{"a": "server = \"https://a\"\n\n[header]\n" + basic(":p")}},
		{"docker_registry=a insecure_registries=a registry_username=u", map[string]string{"a": "server = \"http://a\"\n\n[header]\n" + basic("u:")}},
		// Another registry's image does not get the credentials.
		{"docker_registry=a tink_worker_image=b.c/d registry_username=u registry_password=p", map[string]string{"a": "server = \"https://a\"\n\n[header]\n" + basic("u:p")}},
		{"tink_worker_image=b:5000/d@sha256:00 registry_username=u registry_password=p", map[string]string{"b:5000": "server = \"https://b:5000\"\n\n[header]\n" + basic("u:p")}},
		{"tink_worker_image=localhost/d registry_username=u registry_password=p", map[string]string{"localhost": "server = \"https://localhost\"\n\n[header]\n" + basic("u:p")}},
		{"tink_worker_image=me/d registry_username=u registry_password=p", map[string]string{"docker.io": "server = \"https://registry-1.docker.io\"\n\n[header]\n" + basic("u:p")}},
		{"tink_worker_image=d:latest registry_username=u registry_password=p", map[string]string{"docker.io": "server = \"https://registry-1.docker.io\"\n\n[header]\n" + basic("u:p")}},
		{"docker_registry=index.docker.io/me registry_username=u registry_password=p", map[string]string{"docker.io": "server = \"https://registry-1.docker.io\"\n\n[header]\n" + basic("u:p")}},
		{"tink_worker_image=../d registry_username=u registry_password=p", nil},
		{"ember.mirror=docker.io=m", map[string]string{"docker.io": "server = \"https://registry-1.docker.io\"\n\n[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\"]\n"}},
		{"ember.mirror=a=m,http://n:80/v2/a insecure_registries=m", map[string]string{
			"a": "server = \"https://a\"\n\n[host.\"http://m\"]\ncapabilities = [\"pull\", \"resolve\"]\n" +
				"\n[host.\"http://n:80/v2/a\"]\ncapabilities = [\"pull\", \"resolve\"]\noverride_path = true\n",
			"m": "server = \"http://m\"\n",
		}},
		{"ember.mirror=a=m,https://m/,m", map[string]string{"a": "server = \"https://a\"\n\n[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\"]\n"}},
		{"ember.mirror=a=m docker_registry=m registry_username=u registry_password=p", map[string]string{
			"a": "server = \"https://a\"\n\n[host.\"https://m\"]\ncapabilities = [\"pull\", \"resolve\"]\n\n[host.\"https://m\".header]\n" + basic("u:p"),
			"m": "server = \"https://m\"\n\n[header]\n" + basic("u:p"),
		}},
	} {
		config, errs := cmdline.Parse(tt.line)
		if errs != nil {
			t.Fatal(errs)
		}
		got := map[string]string{}
		for _, f := range hostsFiles(config) {
			name := filepath.Base(filepath.Dir(f.path))
			got[name] = f.text
			if f.path != hostsDir+"/"+name+"/hosts.toml" {
				t.Errorf("%s: the file %s", tt.line, f.path)
			}
			if secret := strings.Contains(f.text, "Basic"); secret != (f.mode == 0o600) {
				t.Errorf("%s: %s has the mode %v", tt.line, f.path, f.mode)
			}
		}
		for name := range tt.want {
			if got[name] != tt.want[name] {
				t.Errorf("%s: %s is\n%s\nwant\n%s", tt.line, name, got[name], tt.want[name])
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %d files", tt.line, got, len(tt.want))
		}
	}
}

// TestHeaderName: containerd uses the name as it stands, see registries.header.
func TestHeaderName(t *testing.T) {
	name, _, _ := strings.Cut(registries{}.header(), " ")
	if name != http.CanonicalHeaderKey(name) {
		t.Errorf("%s is not what Go's HTTP client calls it", name)
	}
}

// FuzzHosts: whatever the command line, files are TOML, have the credentials that
// were given, and are where they should be.
func FuzzHosts(f *testing.F) {
	f.Add("quay.io/a", "reg:5000/b", "user", "p\"\\\n\x00w", "a,b:5000,::1", "docker.io=https://m/v2/x")
	f.Add("../a", "", "", "\xff", "", "a=b,http://c")
	f.Fuzz(func(t *testing.T, image, registry, user, password, insecure, mirror string) {
		config := cmdline.Config{Tinkerbell: cmdline.Tinkerbell{
			WorkerImage: image, Registry: registry, RegistryUsername: user, RegistryPassword: password,
		}}
		parsed, _ := cmdline.Parse("insecure_registries=" + insecure + " ember.mirror=" + mirror)
		config.Tinkerbell.InsecureRegistries, config.Containers = parsed.Tinkerbell.InsecureRegistries, parsed.Containers
		for _, f := range hostsFiles(config) {
			if dir := filepath.Dir(f.path); filepath.Dir(dir) != hostsDir || filepath.Clean(f.path) != f.path || filepath.Base(f.path) != "hosts.toml" {
				t.Errorf("file %q", f.path)
			}
			var hosts struct {
				Server string
				Header map[string][]string
				Host   map[string]struct {
					Capabilities []string
					OverridePath bool `toml:"override_path"`
					Header       map[string][]string
				}
			}
			if err := toml.NewDecoder(strings.NewReader(f.text)).DisallowUnknownFields().Decode(&hosts); err != nil {
				t.Fatalf("%v in\n%s", err, f.text)
			}
			if hosts.Server == "" {
				t.Errorf("no server in\n%s", f.text)
			}
			if header := hosts.Header["Authorization"]; header != nil {
				got, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header[0], "Basic "))
				if err != nil || string(got) != user+":"+password || f.mode != 0o600 {
					t.Errorf("%q, %v, %v", got, err, f.mode)
				}
			}
		}
	})
}

func FuzzQuote(f *testing.F) {
	f.Add("a\"b\\c\n\x00\x1f\x7f\u0080é\U0001f525")
	f.Fuzz(func(t *testing.T, s string) {
		var got struct{ A []string }
		if err := toml.Unmarshal([]byte("a = "+list(s, "x")), &got); err != nil || got.A[0] != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%q became %q, %v", s, got.A, err)
		}
	})
}
