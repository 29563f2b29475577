// Package kubeconfig reads a kubeconfig file: which server a cluster has, and how to be known to it. The format is
// clientcmd.k8s.io/v1's, as kubectl and kubelet take it:
//
//   - The current context counts. Paths are relative to the file's directory; data wins over a file, and tokenFile
//     over token.
//   - Fields that have no meaning for a request are left alone.
//   - What could make the answer worth nothing is an error: http, and insecure-skip-tls-verify. So is what would need
//     another program: exec and auth-provider. username, password and as are not supported either.
//   - A client certificate that has expired is an error, because servers only say that they do not know who asks.
package kubeconfig

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/ember-os/ember/os/textfile"
	"go.yaml.in/yaml/v4"
)

// longest is more than any kubeconfig and what it refers to has, in bytes.
const longest = 1 << 20

// maxDepth is deeper than any kubeconfig that makes sense.
const maxDepth = 32

type file struct {
	Kind     string           `yaml:"kind"`
	Current  string           `yaml:"current-context"`
	Clusters []named[cluster] `yaml:"clusters"`
	Contexts []named[where]   `yaml:"contexts"`
	Users    []named[user]    `yaml:"users"`
}

// named is an entry of a list. Only one of its values is there.
type named[T any] struct {
	Name    string `yaml:"name"`
	Cluster *T     `yaml:"cluster"`
	Context *T     `yaml:"context"`
	User    *T     `yaml:"user"`
}

type cluster struct {
	Server        string `yaml:"server"`
	ServerName    string `yaml:"tls-server-name"`
	Insecure      bool   `yaml:"insecure-skip-tls-verify"`
	Authority     string `yaml:"certificate-authority"`
	AuthorityData string `yaml:"certificate-authority-data"`
	Proxy         string `yaml:"proxy-url"`
}

type where struct {
	Cluster string `yaml:"cluster"`
	User    string `yaml:"user"`
}

type user struct {
	Certificate     string `yaml:"client-certificate"`
	CertificateData string `yaml:"client-certificate-data"`
	Key             string `yaml:"client-key"`
	KeyData         string `yaml:"client-key-data"`
	Token           string `yaml:"token"`
	TokenFile       string `yaml:"tokenFile"`

	Exec         any    `yaml:"exec"`
	AuthProvider any    `yaml:"auth-provider"`
	Username     string `yaml:"username"`
	Password     string `yaml:"password"`
	As           string `yaml:"as"`
}

// Read reads a kubeconfig and the files that it refers to.
func Read(path string) (*Access, error) {
	text, err := textfile.Read(path, longest)
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig: %w", err)
	}
	a, err := parse(text, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("reading kubeconfig %s: %w", path, err)
	}
	return a, nil
}

// parse reads the text of a kubeconfig in a directory.
func parse(text []byte, dir string) (*Access, error) {
	f, err := decode(text)
	if err != nil {
		return nil, err
	}
	if f.Kind != "" && f.Kind != "Config" {
		return nil, fmt.Errorf("it is a %.20q, not a Config", f.Kind)
	}
	if f.Current == "" {
		return nil, errors.New("it has no current-context")
	}
	context, err := find("context", f.Contexts, f.Current, func(n named[where]) *where { return n.Context })
	if err != nil {
		return nil, err
	}
	c, err := find("cluster", f.Clusters, context.Cluster, func(n named[cluster]) *cluster { return n.Cluster })
	if err != nil {
		return nil, err
	}
	u, err := find("user", f.Users, context.User, func(n named[user]) *user { return n.User })
	if err != nil {
		return nil, err
	}
	return access(dir, c, u)
}

// decode takes no aliases, which can make a small file a giant one.
func decode(text []byte) (f file, err error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return f, err
	}
	if len(document.Content) == 0 {
		return f, errors.New("it is empty")
	}
	if err := check(&document, 0); err != nil {
		return f, err
	}
	err = document.Decode(&f)
	if wrong, ok := errors.AsType[*yaml.LoadErrors](err); ok && len(wrong.Errors) > 0 { // whose text may have a part of a key
		err = fmt.Errorf("line %d: this is not what a kubeconfig has here", wrong.Errors[0].Mark.Line)
	}
	return f, err
}

func check(n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("line %d: it is nested too deeply", n.Line)
	}
	if n.Kind == yaml.AliasNode {
		return fmt.Errorf("line %d: there are no aliases here", n.Line)
	}
	for _, child := range n.Content {
		if err := check(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// find gives the entry of that name, the first as kubectl does.
func find[T any](what string, list []named[T], name string, value func(named[T]) *T) (*T, error) {
	i := slices.IndexFunc(list, func(n named[T]) bool { return n.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("there is no %s %.100q", what, name)
	}
	v := value(list[i])
	if v == nil {
		return nil, fmt.Errorf("%s %.100q is empty", what, name)
	}
	return v, nil
}
