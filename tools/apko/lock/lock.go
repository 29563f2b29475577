// Package lock pins what an apko configuration composes.
//
// The file has the format of `apko lock` (version v1), reduced to what is read
// again, with these differences: a package from a public repository has the
// SHA-256 of its whole file, by which it is fetched; a package of ours has only
// its name and version, because its bytes follow from the source tree; and the
// checksum of the configuration covers what decides on packages alone, so that
// editing the rest does not ask for a new lock.
package lock

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ember-os/ember/tools/apk"
	"github.com/ember-os/ember/tools/lockdiff"
)

// ErrStale is wrapped by the errors that a new lock remedies.
var ErrStale = errors.New("renew the lock: bazel run //image:lock")

const version = "v1"

// Lock is a lock file.
type Lock struct {
	Version  string   `json:"version"`
	Config   Config   `json:"config"`
	Contents Contents `json:"contents"`
}

// Config is the configuration that was resolved.
type Config struct {
	Name     string `json:"name"`     // its path in the workspace
	Checksum string `json:"checksum"` // see Checksum
}

// Contents is what the configuration resolved to.
type Contents struct {
	Keyring  []Key     `json:"keyring"`  // what the public repositories' indexes were verified with
	Packages []Package `json:"packages"` // by name
}

// Key is a public key.
type Key struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Content string `json:"content"` // PEM
}

// Package is a package of the image. One of ours ends with Architecture.
type Package struct {
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	URL          string `json:"url,omitempty"`
	Checksum     string `json:"checksum,omitempty"` // in the signed index: Q1 and the control segment's SHA-1 in base64
	SHA256       string `json:"sha256,omitempty"`   // of the file, hexadecimal
}

// Parse reads a lock file.
func Parse(data []byte) (*Lock, error) {
	var l Lock
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("reading lock: %w", err)
	}
	if l.Version != version {
		return nil, fmt.Errorf("reading lock: its version is %q where %q is read", l.Version, version)
	}
	for _, p := range l.Contents.Packages {
		if p.Name == "" || p.Version == "" {
			return nil, fmt.Errorf("reading lock: package %q has version %q", p.Name, p.Version)
		}
		if sum, err := hex.DecodeString(p.SHA256); p.URL != "" && (err != nil || len(sum) != 32) {
			return nil, fmt.Errorf("reading lock: package %s has sha256 %q", p.Name, p.SHA256)
		}
	}
	return &l, nil
}

// Encode gives the lock file.
func (l *Lock) Encode() ([]byte, error) {
	data, err := json.MarshalIndent(l, "", "  ")
	return append(data, '\n'), err
}

// Changes lists what differs between two locks, a line each.
func Changes(before, after *Lock) []string {
	return lockdiff.Lines(before.identities(), after.identities())
}

// identities maps what the lock pins to what tells one state of it from another.
func (l *Lock) identities() map[string]string {
	ids := l.versions()
	for _, p := range l.Contents.Packages {
		if p.URL != "" {
			ids[p.Name] += " sha256:" + p.SHA256[:12]
		}
	}
	for _, k := range l.Contents.Keyring {
		ids["key "+k.Name] = fmt.Sprintf("sha256:%.6x", sha256.Sum256([]byte(k.Content)))
	}
	return ids
}

func (l *Lock) versions() map[string]string {
	versions := map[string]string{}
	for _, p := range l.Contents.Packages {
		versions[p.Name] = p.Version
	}
	return versions
}

// Check compares an image's packages with the lock by name and version. The error
// lists every difference and wraps ErrStale.
func (l *Lock) Check(installed []apk.Installed) error {
	versions := map[string]string{}
	for _, p := range installed {
		versions[p.Name] = p.Version
	}
	if lines := lockdiff.Lines(l.versions(), versions); len(lines) > 0 {
		return fmt.Errorf("the image is not what the lock says:\n  %s\n%w", strings.Join(lines, "\n  "), ErrStale)
	}
	return nil
}
