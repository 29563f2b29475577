package containerd

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/cmdline"
)

// Docker's registry has one name in the names of images, and others on the network.
const (
	dockerHub     = "docker.io"
	dockerHubHost = "registry-1.docker.io"
)

// hostsFiles is a hosts.toml for each registry that the command line says something
// of: containerd/docs/hosts.md.
func hostsFiles(c cmdline.Config) []file {
	r := registries{insecure: map[string]bool{}}
	names := map[string]bool{}
	for _, host := range c.Tinkerbell.InsecureRegistries {
		r.insecure[canonical(host)], names[canonical(host)] = true, true
	}
	if t := c.Tinkerbell; t.RegistryUsername != "" || t.RegistryPassword != "" {
		if r.private = privateRegistry(t); r.private != "" {
			names[r.private] = true
			r.authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(t.RegistryUsername+":"+t.RegistryPassword))
		}
	}
	mirrors := map[string][]string{}
	for _, m := range c.Containers.Mirrors {
		mirrors[canonical(m.Registry)], names[canonical(m.Registry)] = m.URLs, true
	}
	var files []file
	for _, name := range slices.Sorted(maps.Keys(names)) {
		text := r.hosts(name, mirrors[name])
		mode := 0o644
		if r.authorization != "" && strings.Contains(text, r.authorization) {
			mode = 0o600
		}
		files = append(files, file{path.Join(hostsDir, name, "hosts.toml"), text, os.FileMode(mode)})
	}
	return files
}

// privateRegistry is the registry that the credentials are for: docker_registry,
// else that of the agent's image. They are shown to no other.
func privateRegistry(t cmdline.Tinkerbell) string {
	name := t.Registry
	if name == "" {
		name = t.WorkerImage
		if name == "" {
			return ""
		}
		host, _, ok := strings.Cut(name, "/")
		if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
			return dockerHub
		}
	}
	host, _, _ := strings.Cut(name, "/")
	if strings.Trim(host, ".") == "" { // it names a directory
		return ""
	}
	return canonical(host)
}

// canonical is a registry's name as in the names of images.
func canonical(host string) string {
	if a, err := netip.ParseAddr(host); err == nil && a.Is6() {
		return "[" + host + "]"
	}
	if host == "index.docker.io" || host == dockerHubHost {
		return dockerHub
	}
	return host
}

// registries is what is known of all of them.
type registries struct {
	insecure      map[string]bool // by canonical name
	private       string          // canonical; the one that gets authorization
	authorization string          // the header's value
}

// hosts is the text of a hosts.toml.
func (r registries) hosts(name string, mirrors []string) string {
	var b strings.Builder
	host := name
	if name == dockerHub {
		host = dockerHubHost
	}
	b.WriteString("server = " + quote(r.scheme(name)+"://"+host) + "\n")
	if name == r.private {
		b.WriteString("\n[header]\n" + r.header())
	}
	for _, u := range r.urls(mirrors) {
		mirror := u.String()
		b.WriteString("\n[host." + quote(mirror) + "]\ncapabilities = [\"pull\", \"resolve\"]\n")
		if u.Path != "" { // where the API is, and not what is in front of it
			b.WriteString("override_path = true\n")
		}
		if canonical(u.Host) == r.private {
			b.WriteString("\n[host." + quote(mirror) + ".header]\n" + r.header())
		}
	}
	return b.String()
}

// urls is the mirrors, each once, with their schemes.
func (r registries) urls(mirrors []string) []*url.URL {
	var urls []*url.URL
	for _, mirror := range mirrors {
		if !strings.Contains(mirror, "://") {
			mirror = r.scheme(canonical(mirror)) + "://" + canonical(mirror)
		}
		u, err := url.Parse(mirror)
		same := func(other *url.URL) bool { return *u == *other }
		if err == nil && !slices.ContainsFunc(urls, same) { // cmdline takes nothing else
			urls = append(urls, u)
		}
	}
	return urls
}

func (r registries) scheme(name string) string {
	if r.insecure[name] {
		return "http"
	}
	return "https"
}

// header has the name as Go's net/http writes it: containerd does not change it,
// and would send another spelling together with the token that replaces it, and to
// servers that are not the registry.
func (r registries) header() string {
	return "Authorization = " + list(r.authorization) + "\n"
}
