package os_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/health/kubetest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const (
	apiServer = "10.0.1.1:6443"
	rke2Unit  = "usr/local/lib/systemd/system/rke2-agent.service"
)

// TestKubernetes has an overlay with rke2's own unit, and a machine that is healthy once the cluster has its node of this
// boot as ready.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	cluster := kubetest.New(t)
	s := newSite(t)
	go s.wires.Serve(s.lab.Listen("tcp", apiServer), cluster.Listener.Addr().String())
	text := func(path string) string {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	kubeconfig := kubetest.Write(t, t.TempDir(), "https://"+apiServer,
		"certificate-authority-data: "+base64.StdEncoding.EncodeToString(cluster.PEM)+"\n    tls-server-name: 127.0.0.1", "token: "+kubetest.Token)
	s.seal(
		station.File{Path: rke2Unit, Mode: 0o644, Text: text(vmtest.File(t, "RKE2_UNIT"))},
		station.File{Path: "etc/systemd/system/multi-user.target.wants/rke2-agent.service", Target: "/" + rke2Unit},
		station.File{Path: "usr/local/bin/rke2", Mode: 0o755, Text: text(vmtest.File(t, "RKE2"))},
		station.File{Path: "var/lib/rancher/kubelet.kubeconfig", Mode: 0o600, Text: text(kubeconfig)},
		station.File{Path: "etc/ember/health.json", Mode: 0o644, Text: `{"kubeconfig": "/var/lib/rancher/kubelet.kubeconfig", "node": "` + kubetest.Node + `"}`},
	)
	s.start()
	c := s.machine(vm.TIS)
	c.Append += " ember.lkg=on ember.lkg_limits=hold:1s"
	m := vmtest.Start(t, c)
	reach(m, machine.Start)
	m.Line(func(line string) bool {
		return strings.Contains(line, "kubernetes: node "+kubetest.Node+" in the cluster is from another boot")
	})
	boot, ready := ask(t, m, "cat /proc/sys/kernel/random/boot_id"), kubetest.Answers(t)["ready"]
	ready.Body = bytes.ReplaceAll(ready.Body, []byte(kubetest.BootID), []byte(boot))
	cluster.Handle(func(w http.ResponseWriter, r *http.Request) { ready.ServeHTTP(w, r) })
	reach(m, machine.Healthy)
	reach(m, machine.Kept)
	for command, want := range map[string]string{
		"ember log rke2-agent | grep -c 'rke2 agent'":               "1",
		"ember services | grep rke2-agent.service | grep -c active": "1",
		"ember health | grep -c '^well  *kubernetes: '":             "1",
	} {
		if got := ask(t, m, command); got != want {
			t.Errorf("%s\nprints %q, want %q", command, got, want)
		}
	}
}
