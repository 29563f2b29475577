package kubetest

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// NodeUser writes a kubeconfig of the node's into a new directory, with its certificate and key beside it: the form of
// rke2's kubelet.kubeconfig.
func (c *Cluster) NodeUser(t testing.TB) (path string) {
	t.Helper()
	certificate, key := c.Issue(t, "system:node:"+Node, time.Now().Add(time.Hour))
	return c.CertificateUser(t, certificate, key)
}

// CertificateUser is NodeUser with a certificate and key of any kind.
func (c *Cluster) CertificateUser(t testing.TB, certificate, key []byte) (path string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string][]byte{"ca.crt": c.PEM, "kubelet.crt": certificate, "kubelet.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cluster := "certificate-authority: " + filepath.Join(dir, "ca.crt")
	return Write(t, dir, c.URL, cluster, "client-certificate: kubelet.crt\n    client-key: kubelet.key")
}

// TokenUser writes a kubeconfig that has all it needs in it.
func (c *Cluster) TokenUser(t testing.TB, token string) (path string) {
	t.Helper()
	cluster := "certificate-authority-data: " + base64.StdEncoding.EncodeToString(c.PEM)
	return Write(t, t.TempDir(), c.URL, cluster, fmt.Sprintf("token: %q", token))
}

// Write writes a kubeconfig: lines for the cluster, and for the user.
func Write(t testing.TB, dir, server, cluster, user string) (path string) {
	t.Helper()
	path = filepath.Join(dir, "kubelet.kubeconfig")
	text := fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    server: %s
    %s
  name: local
contexts:
- context:
    cluster: local
    namespace: default
    user: user
  name: Default
current-context: Default
kind: Config
preferences: {}
users:
- name: user
  user:
    %s
`, server, cluster, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
