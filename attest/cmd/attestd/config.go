package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/server"
)

// config is the configuration file; docs/attestd.md explains it. Relative paths are relative to its folder.
type config struct {
	fixed     `yaml:",inline"`
	TLS       keyPair         `yaml:"tls"`
	Enrolment enrolment       `yaml:"enrolment"`
	Overlays  overlays        `yaml:"overlays"`
	Operators operators       `yaml:"operators"`
	Policies  []policy.Policy `yaml:"policies"`
}

// fixed is what a running server cannot exchange.
type fixed struct {
	Listen    string         `yaml:"listen"`
	Data      string         `yaml:"data"`
	Admin     string         `yaml:"admin"`
	Audit     string         `yaml:"audit"`
	Binding   string         `yaml:"binding"`
	Proxies   []netip.Prefix `yaml:"proxies"`
	Authority keyPair        `yaml:"authority"`
	Store     sharedStore    `yaml:"store"`
	Queue     int            `yaml:"queue"`
	Limits    limits         `yaml:"limits"`
	Status    status         `yaml:"status"`
}

// status is the address for people and for monitoring. Without one there is none.
type status struct {
	Listen string   `yaml:"listen"`
	Names  []string `yaml:"names"`
}

type keyPair struct {
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

type enrolment struct {
	Vendors  string `yaml:"vendors"`
	Machines string `yaml:"machines"`
}

type overlays struct {
	Folder   string   `yaml:"folder"`
	Identity string   `yaml:"identity"`
	Keys     []string `yaml:"keys"`
	Private  bool     `yaml:"private"`
	Keep     int      `yaml:"keep"`
	MaxSize  int64    `yaml:"maxSize"`
}

type operators struct {
	Listen string `yaml:"listen"`
	Folder string `yaml:"folder"`
}

type limits struct {
	RequestsPerAddress    int `yaml:"requestsPerAddress"`
	RequestsPerMachine    int `yaml:"requestsPerMachine"`
	Connections           int `yaml:"connections"`
	ConnectionsPerAddress int `yaml:"connectionsPerAddress"`
}

// Values of binding.
const (
	bindConnection = "connection"
	bindChallenge  = "challenge"
)

// onStdout is the audit log's path for standard output.
const onStdout = "-"

func defaults() config {
	return config{fixed: fixed{
		Listen:  ":8443",
		Data:    "/var/lib/attestd",
		Audit:   onStdout,
		Binding: bindConnection,
		Store:   sharedStore{etcdStore{Prefix: defaultPrefix}},
		Queue:   1000,
		Limits: limits{
			RequestsPerAddress:    server.DefaultLimits.AddressPerMinute,
			RequestsPerMachine:    server.DefaultLimits.MachinePerMinute,
			Connections:           server.DefaultConnections.All,
			ConnectionsPerAddress: server.DefaultConnections.PerAddress,
		},
	}, Overlays: overlays{Keep: 5, MaxSize: 1 << 30}}
}

// readConfig reads the file. Flags that are not empty come before it.
func readConfig(path string, flags flags) (*config, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c, err := parseConfig(b, filepath.Dir(path), flags)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return c, nil
}

func parseConfig(b []byte, folder string, flags flags) (*config, error) {
	c := defaults()
	if err := policy.DecodeYAML(b, &c); err != nil {
		return nil, err
	}
	for _, p := range []*string{
		&c.Data, &c.Admin, &c.TLS.Certificate, &c.TLS.Key, &c.Authority.Certificate, &c.Authority.Key,
		&c.Enrolment.Vendors, &c.Enrolment.Machines, &c.Overlays.Folder, &c.Overlays.Identity, &c.Operators.Folder,
		&c.Store.Etcd.TLS.Authority, &c.Store.Etcd.TLS.Certificate, &c.Store.Etcd.TLS.Key, &c.Store.Etcd.PasswordFile,
	} {
		*p = under(folder, *p)
	}
	for _, p := range c.Policies {
		for i, file := range p.Measurements.Files {
			p.Measurements.Files[i] = under(folder, file)
		}
	}
	if c.Audit != onStdout {
		c.Audit = under(folder, c.Audit)
	}
	if flags.listen != "" {
		c.Listen = flags.listen
	}
	if flags.data != "" {
		c.Data = flags.data
	}
	if c.Admin == "" {
		c.Admin = filepath.Join(c.Data, "admin.sock")
	}
	if c.Authority == (keyPair{}) && len(c.Store.Etcd.Endpoints) == 0 {
		c.Authority = keyPair{filepath.Join(c.Data, "machines-ca.pem"), filepath.Join(c.Data, "machines-ca-key.pem")}
	}
	return &c, c.check()
}

func under(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

func (c *config) check() error {
	switch {
	case c.Binding != bindConnection && c.Binding != bindChallenge:
		return fmt.Errorf("binding is %q, not %s or %s", c.Binding, bindConnection, bindChallenge)
	case c.TLS == (keyPair{}) && c.Binding == bindConnection:
		return errors.New("tls is missing: certificate and key, of which only binding: challenge can do without")
	case (c.TLS.Certificate == "") != (c.TLS.Key == ""):
		return errors.New("tls needs both certificate and key")
	case (c.Authority.Certificate == "") != (c.Authority.Key == ""):
		return errors.New("authority needs both certificate and key")
	case c.Authority == (keyPair{}):
		return errors.New("authority is missing: servers that share a store sign the machines' certificates with one key")
	case c.Status.Listen == "" && len(c.Status.Names) > 0:
		return errors.New("status.names are of the status page, but status.listen is missing")
	case c.Queue < 0:
		return errors.New("queue is negative")
	case c.Limits.RequestsPerAddress < 1 || c.Limits.RequestsPerMachine < 1 || c.Limits.Connections < 1 || c.Limits.ConnectionsPerAddress < 1:
		return errors.New("limits are numbers from 1 on")
	case c.Overlays.Folder != "" && c.Overlays.Identity == "":
		return errors.New("overlays.identity is missing: without it no overlay can be opened for a machine")
	case c.Overlays.Private && c.TLS == (keyPair{}):
		return errors.New("overlays.private needs tls: machines show a certificate")
	case c.Overlays.Keep < 0 || c.Overlays.MaxSize < 0:
		return errors.New("overlays.keep and overlays.maxSize are numbers from 0 on")
	case (c.Operators.Listen == "") != (c.Operators.Folder == ""):
		return errors.New("operators needs both listen and folder")
	case c.Operators.Listen != "" && c.TLS == (keyPair{}):
		return errors.New("operators needs tls: they see by its certificate that this is their server")
	}
	if err := c.Store.Etcd.check(); err != nil {
		return fmt.Errorf("store.etcd: %w", err)
	}
	set, err := policy.New(c.Policies)
	if err != nil {
		return fmt.Errorf("policies: %w", err)
	}
	if names := set.Overlays(); len(names) > 0 && c.Overlays.Folder == "" {
		return fmt.Errorf("policies give overlay %q, but overlays.folder is missing", names[0])
	}
	for _, key := range c.Overlays.Keys {
		if _, err := manifest.ParseKey(key); err != nil {
			return fmt.Errorf("overlays.keys: %w", err)
		}
	}
	return nil
}

// sameFixed tells whether a running server can go on with another configuration.
func (c *config) sameFixed(other *config) bool {
	return reflect.DeepEqual(c.fixed, other.fixed) && c.Operators.Listen == other.Operators.Listen && (c.TLS == keyPair{}) == (other.TLS == keyPair{})
}

// files are all that settings are read from.
func (c *config) files() []string {
	var all []string
	for _, p := range []string{
		c.TLS.Certificate, c.TLS.Key, c.Enrolment.Vendors, c.Enrolment.Machines, c.Overlays.Folder, c.Overlays.Identity,
		c.Operators.Folder,
	} {
		if p != "" {
			all = append(all, p)
		}
	}
	for _, p := range c.Policies {
		all = append(all, p.Measurements.Files...)
	}
	return all
}
