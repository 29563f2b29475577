package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/ember-os/ember/attest/operator"
	"github.com/ember-os/ember/attest/overlay/depot"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/policy"
	"github.com/ember-os/ember/attest/roster"
	"github.com/ember-os/ember/attest/server"
	"github.com/ember-os/ember/attest/store"
)

// loaded is what files say.
type loaded struct {
	certificate *tls.Certificate // nil without TLS
	settings    *server.Settings
	operators   operator.Set
	depot       *depot.Depot // nil without a folder of overlays
	// warnings are problems that others do not suffer from: a vendor's certificate, an overlay.
	warnings []error
}

// load reads all files that the configuration names. Overlays that cannot be had stay as they are in old, which
// may be nil; with a nil registry their versions are not compared with those before.
func load(ctx context.Context, c *config, registry *store.Registry, old server.Overlays) (*loaded, error) {
	l := &loaded{settings: &server.Settings{PrivateOverlays: c.Overlays.Private}}
	if c.TLS != (keyPair{}) {
		pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the TLS certificate: %w", err)
		}
		l.certificate = &pair
	}
	s := l.settings
	policies, err := policy.Expand(c.Policies, os.ReadFile)
	if err != nil {
		return nil, err
	}
	if s.Policies, err = policy.New(policies); err != nil {
		return nil, err
	}
	if s.Roots, s.Intermediates, l.warnings, err = vendors(c.Enrolment.Vendors); err != nil {
		return nil, err
	}
	if s.Machines, err = listedMachines(c.Enrolment.Machines); err != nil {
		return nil, err
	}
	if c.Operators.Folder != "" {
		var odd []error
		if l.operators, odd, err = operator.Read(c.Operators.Folder); err != nil {
			return nil, err
		}
		l.warnings = append(l.warnings, odd...)
	}
	if c.Overlays.Folder != "" {
		p, err := publisher(c, registry)
		if err != nil {
			return nil, err
		}
		l.depot = &depot.Depot{
			Folder: p.Folder, Identities: p.Identities, Keys: p.Keys, Registry: registry,
			Keep: c.Overlays.Keep, MaxSize: c.Overlays.MaxSize,
		}
		if s.Overlays, err = p.Read(ctx, old); err != nil {
			l.warnings = append(l.warnings, err)
		}
	}
	for _, name := range s.Policies.Overlays() {
		if s.Overlays[name] == nil {
			l.warnings = append(l.warnings, fmt.Errorf("a policy gives overlay %q, which is not published", name))
		}
	}
	return l, nil
}

func listedMachines(path string) (map[string]bool, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the list of machines: %w", err)
	}
	machines, err := roster.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading the list of machines %s: %w", path, err)
	}
	return machines, nil
}

func publisher(c *config, registry *store.Registry) (*server.Publisher, error) {
	f, err := os.Open(c.Overlays.Identity)
	if err != nil {
		return nil, fmt.Errorf("reading the identity for overlays: %w", err)
	}
	defer f.Close()
	identities, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("reading the identity for overlays %s: %w", c.Overlays.Identity, err)
	}
	p := &server.Publisher{Folder: c.Overlays.Folder, Identities: identities, Registry: registry}
	for _, text := range c.Overlays.Keys {
		key, err := manifest.ParseKey(text)
		if err != nil {
			return nil, err
		}
		p.Keys = append(p.Keys, key)
	}
	return p, nil
}

// fingerprint changes when a file does, or what is in a folder or in the folders in it: names, sizes, times and
// inodes. What cannot be read has a fingerprint too. Names that begin with a dot are not looked at: an overlay is
// being received there.
func fingerprint(paths []string) string {
	var b strings.Builder
	for _, path := range paths {
		path = filepath.Clean(path)
		all := []string{path}
		for _, pattern := range []string{"*", "*/*"} {
			inner, _ := filepath.Glob(filepath.Join(escapeGlob(path), pattern))
			all = append(all, inner...)
		}
		for i, p := range slices.Compact(all) {
			if i > 0 && strings.Contains(p[len(path):], "/.") {
				continue
			}
			info, err := os.Stat(p)
			if err != nil {
				fmt.Fprintf(&b, "%s %v\n", p, errors.Unwrap(err))
				continue
			}
			fmt.Fprintf(&b, "%s %v %d %d %d\n", p, info.Mode(), info.Size(), info.ModTime().UnixNano(), inode(info))
		}
	}
	return b.String()
}
