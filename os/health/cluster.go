package health

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ember-os/ember/os/health/kubeconfig"
	"github.com/ember-os/ember/os/health/node"
	"github.com/ember-os/ember/os/textfile"
)

// settings is the file Config.
type settings struct {
	Kubeconfig string `json:"kubeconfig"`
	Node       string `json:"node"`
}

// maxSettings is the most that the file may have, in bytes.
const maxSettings = 64 << 10

// readSettings gives nothing if there is no file.
func readSettings(path string) (settings, error) {
	text, err := textfile.Read(path, maxSettings)
	if errors.Is(err, fs.ErrNotExist) {
		return settings{}, nil
	}
	if err != nil {
		return settings{}, err
	}
	s, err := parseSettings(text)
	if err != nil {
		return settings{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return s, nil
}

func parseSettings(text []byte) (s settings, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return settings{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return settings{}, errors.New("something follows the JSON object")
	}
	switch {
	case s.Kubeconfig == "" && s.Node != "":
		return settings{}, errors.New("node is given without kubeconfig")
	case s.Kubeconfig != "" && !filepath.IsAbs(s.Kubeconfig):
		return settings{}, fmt.Errorf("kubeconfig %.100q is not an absolute path", s.Kubeconfig)
	}
	return s, nil
}

const clusterCheck = "kubernetes"

// cluster checks the node's object. It is zero if no kubeconfig is named.
func (l *looker) cluster(ctx context.Context) Check {
	s, err := readSettings(l.paths.settings)
	if err != nil {
		return unhealthy(clusterCheck, "%s", shown(err.Error()))
	}
	if s.Kubeconfig == "" {
		return Check{}
	}
	name, err := l.ready(ctx, s)
	if err != nil {
		return unhealthy(clusterCheck, "%s", shown(err.Error()))
	}
	return healthy(clusterCheck, "node %s is ready", name)
}

// ready fails unless the node is; it gives its name.
func (l *looker) ready(ctx context.Context, s settings) (name string, err error) {
	a, err := kubeconfig.Read(s.Kubeconfig)
	if err != nil {
		return "", err
	}
	boot, err := os.ReadFile(l.paths.bootID)
	if err != nil {
		return "", fmt.Errorf("reading the ID of this boot: %w", err)
	}
	if name, err = nodeName(s.Node, a.Node); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	client := a.Client()
	defer client.CloseIdleConnections()
	err = node.Ready(ctx, client, a.Server, name, strings.TrimSpace(string(boot)))
	if errors.Is(err, context.DeadlineExceeded) {
		return "", fmt.Errorf("the cluster at %s has not answered for node %s within %v", a.Server.Host, name, l.patience)
	}
	return name, err
}

// nodeName is the name of this machine's node: that of the settings, or the one that the client certificate is for, or
// what a kubelet takes that is told nothing.
func nodeName(set, certified string) (string, error) {
	switch {
	case set != "":
		return set, nil
	case certified != "":
		return certified, nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return strings.ToLower(strings.TrimSpace(name)), nil
}
