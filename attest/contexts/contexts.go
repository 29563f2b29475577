// Package contexts is an operator's configuration file: which attestation servers there are, how each proves that
// it is the right one, and with which key the operator comes. What it says can be said for one call by flags and
// by the environment as well.
//
// The file is YAML, in the folder for configuration of the XDG base directory specification. Relative paths in it
// are relative to its folder.
package contexts

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/google/renameio/v2"
	"go.yaml.in/yaml/v4"

	"github.com/ember-os/ember/attest/policy"
)

// Context is a server and who comes to it.
type Context struct {
	// Server is https://HOST:PORT, or unix:PATH of attestd's own socket.
	Server string `yaml:"server,omitempty" json:"server,omitempty"`
	// Pin is of the server's key, as attestd certificate says it; CA is a file of authorities in PEM. With neither
	// the machine's own authorities count.
	Pin string `yaml:"pin,omitempty" json:"pin,omitempty"`
	CA  string `yaml:"ca,omitempty" json:"ca,omitempty"`
	// Operator is a file with the operator's key and certificate.
	Operator string `yaml:"operator,omitempty" json:"operator,omitempty"`
}

// Over is c, but for what other says. A pin or an authority that other has takes the place of both.
func (c Context) Over(other Context) Context {
	if other.Server != "" {
		c.Server = other.Server
	}
	if other.Pin != "" || other.CA != "" {
		c.Pin, c.CA = other.Pin, other.CA
	}
	if other.Operator != "" {
		c.Operator = other.Operator
	}
	return c
}

// File is what is in the configuration file.
type File struct {
	Current  string             `yaml:"current,omitempty"`
	Contexts map[string]Context `yaml:"contexts,omitempty"`
	path     string
}

// ErrNotFound is that there is no such context.
var ErrNotFound = errors.New("there is no such context")

// DefaultPath is where the file is if nobody says something else.
func DefaultPath() (string, error) {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the specification has those that are not ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("looking for the configuration: %w", err)
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "ember", "emberctl.yaml"), nil
}

// Read reads the file at path; one that is not there is empty.
func Read(path string) (*File, error) {
	f := &File{path: path}
	b, err := os.ReadFile(path)
	if err == nil && len(bytes.TrimSpace(b)) > 0 {
		err = f.parse(b)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return f, nil
}

func (f *File) parse(b []byte) error {
	if err := policy.DecodeYAML(b, f); err != nil {
		return err
	}
	for name := range f.Contexts {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if f.Current != "" {
		if _, ok := f.Contexts[f.Current]; !ok {
			return fmt.Errorf("current is %q, which is none of the contexts", f.Current)
		}
	}
	return nil
}

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// CheckName is the error of what is no context's name.
func CheckName(text string) error {
	if !name.MatchString(text) {
		return fmt.Errorf(`%q is not a context's name: letters, digits, "-", "." and "_"`, text)
	}
	return nil
}

// Get is the context of that name, or the current one if that is "". Without any it is empty.
func (f *File) Get(name string) (Context, error) {
	if name == "" {
		name = f.Current
	}
	if name == "" {
		return Context{}, nil
	}
	c, ok := f.Contexts[name]
	if !ok {
		return Context{}, fmt.Errorf("%w: %q is not in %s", ErrNotFound, name, f.path)
	}
	for _, path := range []*string{&c.CA, &c.Operator} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(f.path), *path)
		}
	}
	return c, nil
}

// Names are those of the contexts, sorted.
func (f *File) Names() []string {
	var names []string
	for name := range f.Contexts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Set adds or changes a context. The first one becomes the current one.
func (f *File) Set(name string, c Context) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if f.Contexts == nil {
		f.Contexts = make(map[string]Context)
	}
	f.Contexts[name] = c
	if f.Current == "" {
		f.Current = name
	}
	return nil
}

// Use makes a context the current one.
func (f *File) Use(name string) error {
	if _, ok := f.Contexts[name]; !ok {
		return fmt.Errorf("%w: %q is not in %s", ErrNotFound, name, f.path)
	}
	f.Current = name
	return nil
}

// Remove removes a context. If it is the current one, there is none.
func (f *File) Remove(name string) error {
	if _, ok := f.Contexts[name]; !ok {
		return fmt.Errorf("%w: %q is not in %s", ErrNotFound, name, f.path)
	}
	delete(f.Contexts, name)
	if f.Current == name {
		f.Current = ""
	}
	return nil
}

// Write writes the file, at once. Comments in it are lost.
func (f *File) Write() error {
	b, err := yaml.Marshal(f)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(f.path), 0o700)
	}
	if err == nil {
		err = renameio.WriteFile(f.path, b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}
