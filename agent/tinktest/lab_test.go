package tinktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/ember-os/ember/agent/tinktest/images"
	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	lab.Init()
	m.Run()
}

// TestLab has a site in a lab, at the addresses that machines are told.
func TestLab(t *testing.T) {
	l := lab.Start(t, lab.Config{
		Root: toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")},
		LANs: []lab.LAN{{Name: "boot", Addrs: []netip.Prefix{netip.MustParsePrefix("10.0.1.1/24")}}},
	})
	s := Start(t, l, Options{
		Host: netip.MustParseAddr("10.0.1.1"), Agents: registry.Options{User: "u", Password: "p"},
		Workflow: Workflow{Agent: worker, Actions: []Action{{Image: images.Say}}},
	})
	const want = "facility= syslog_host= grpc_authority=10.0.1.1:42113 tinkerbell_tls=false tinkerbell_insecure_tls=false " +
		"worker_id=" + worker + " hw_addr=" + worker + " modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on iommu=pt " +
		"initrd=initramfs-x86_64 console=tty0 console=ttyS1,115200 tink_worker_image=10.0.1.1:5000/tinkerbell/tink-agent:latest " +
		"insecure_registries=10.0.1.1:5000 registry_username=u registry_password=p"
	if got := s.Netboot(worker).CommandLine(); got != want {
		t.Errorf("the machine is told\n%s\nnot\n%s", got, want)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.CA())
	client := http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return l.Dial(network, address), nil
		},
	}}
	for url, status := range map[string]int{
		"https://10.0.1.1:5443/v2/actions/say/manifests/v1":                  http.StatusOK,
		"http://10.0.1.1:5000/v2/tinkerbell/tink-agent/manifests/latest":     http.StatusUnauthorized,
		"http://u:p@10.0.1.1:5000/v2/tinkerbell/tink-agent/manifests/latest": http.StatusOK,
	} {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("%s: %s", url, response.Status)
		}
	}
	l.Dial("tcp", s.Server.Address())
}
