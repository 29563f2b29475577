package main

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

const manual = "../../../docs/attestd.md"

// sample is the configuration in the manual.
func sample(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "```yaml\n")
	text, _, ended := strings.Cut(rest, "```\n")
	if !found || !ended {
		t.Fatal("the manual has no configuration")
	}
	return text
}

// keys are the names in YAML of all fields.
func keys(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Slice, reflect.Map, reflect.Pointer:
		return keys(t.Elem())
	case reflect.Struct:
	default:
		return nil
	}
	var names []string
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("yaml"), ","); name != "" {
			names = append(names, name)
		}
		names = append(names, keys(f.Type)...)
	}
	return names
}

// The manual's configuration is one, has every key, and the defaults where it says so.
func TestManual(t *testing.T) {
	text := sample(t)
	c, err := parseConfig([]byte(text), "/etc/attestd", flags{})
	if err != nil {
		t.Fatal(err)
	}
	want := defaults().fixed
	etcd := c.Store.Etcd
	want.Store.Etcd.Endpoints, want.Store.Etcd.TLS = etcd.Endpoints, etcd.TLS
	want.Store.Etcd.Username, want.Store.Etcd.PasswordFile = etcd.Username, etcd.PasswordFile
	want.Admin, want.Proxies, want.Authority, want.Status = c.Admin, c.Proxies, c.Authority, c.Status
	if !reflect.DeepEqual(c.fixed, want) {
		t.Errorf("%+v, the defaults are %+v", c.fixed, want)
	}
	for _, key := range keys(reflect.TypeFor[config]()) {
		if !strings.Contains("\n"+text, "\n"+key+":") && !strings.Contains(text, " "+key+":") {
			t.Errorf("%s is missing", key)
		}
	}
	if c.TLS.Key != "/etc/attestd/tls-key.pem" || c.Overlays.Folder != "/etc/attestd/overlays" || c.Data != "/var/lib/attestd" {
		t.Errorf("paths %+v, %+v, %s", c.TLS, c.Overlays, c.Data)
	}
}

func TestDefaults(t *testing.T) {
	c, err := parseConfig([]byte("tls: {certificate: a, key: b}\n"), "/etc", flags{listen: ":1", data: "/d"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != ":1" || c.Admin != "/d/admin.sock" || c.Authority.Certificate != "/d/machines-ca.pem" || c.Binding != bindConnection || c.Audit != "-" {
		t.Errorf("%+v", c.fixed)
	}
}

func TestConfigErrors(t *testing.T) {
	const tls = "tls: {certificate: a, key: b}\n"
	const shared = "authority: {certificate: a, key: b}\n"
	for _, test := range []struct{ text, want string }{
		{"", "it is empty"},
		{"listen: :1", "tls is missing"},
		{"tls: {certificate: a}", "needs both"},
		{"tls:", "line 1: a value is missing"},
		{tls + "listenn: x", "listenn"},
		{tls + "binding: none", `binding is "none"`},
		{tls + "authority: {key: a}", "authority needs both"},
		{tls + "queue: -1", "queue is negative"},
		{tls + "store: {etcd: {username: a}}", "store.etcd: endpoints is missing"},
		{tls + "store: {etcd: {endpoints: ['http://a:1']}}", "authority is missing"},
		{tls + shared + "store: {etcd: {endpoints: [etcd1]}}", `endpoint "etcd1" is not of the form`},
		{tls + shared + "store: {etcd: {endpoints: ['https://etcd1']}}", `"https://etcd1" is not of the form https://HOST:PORT`},
		{tls + shared + "store: {etcd: {endpoints: ['https://a:1/x']}}", "is not of the form"},
		{tls + shared + "store: {etcd: {endpoints: ['unix://a/x']}}", "is not of the form unix:///PATH"},
		{tls + shared + "store: {etcd: {endpoints: ['https://a:1', 'http://b:1']}}", "both https and http"},
		{tls + shared + "store: {etcd: {endpoints: ['http://a:1'], tls: {authority: a}}}", "begin with http://"},
		{tls + shared + "store: {etcd: {endpoints: ['https://a:1'], tls: {key: a}}}", "tls needs both"},
		{tls + shared + "store: {etcd: {endpoints: ['https://a:1'], username: a}}", "need each other"},
		{tls + shared + "store: {etcd: {endpoints: ['https://a:1'], prefix: a}}", "does not end with /"},
		{tls + "limits: {connections: 0}", "limits are numbers from 1 on"},
		{tls + "proxies: [10.0.0.1]", "10.0.0.1"},
		{tls + "overlays: {folder: o}", "overlays.identity is missing"},
		{tls + "overlays: {keys: [abc]}", "overlays.keys"},
		{"binding: challenge\noverlays: {private: true}", "overlays.private needs tls"},
		{tls + "overlays: {keep: -1}", "numbers from 0 on"},
		{tls + "operators: {listen: \":1\"}", "operators needs both"},
		{"binding: challenge\noperators: {listen: \":1\", folder: o}", "operators needs tls"},
		{tls + "policies: [{name: p}]", `policies: policy "p": tiers is missing`},
		{tls + "policies: [{name: p, tiers: [none], overlay: o}]", "overlays.folder is missing"},
	} {
		if _, err := parseConfig([]byte(test.text), "/etc", flags{}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("tls: {certificate: a, key: b}\nproxies: [\"::/0\"]\npolicies: [{name: p, tiers: [none]}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b, "/etc", flags{})
		if err == nil && c.check() != nil {
			t.Error("what was taken is not right")
		}
	})
}

// The help has every command.
func TestUsage(t *testing.T) {
	for _, c := range commands() {
		if !strings.Contains(usage, "\n  "+c.Name+" ") {
			t.Errorf("%s is missing", c.Name)
		}
	}
}
