package os_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ember-os/ember/agent/tinktest/registry"
	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/lkg/booted"
	"github.com/ember-os/ember/os/lkg/booted/bootedtest"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestAttestImage has overlays that are for one kernel and one initrd.
func TestAttestImage(t *testing.T) {
	for _, test := range []struct {
		name         string
		uefi, retain bool
		other        bool      // of the kernel
		files        []vm.File // which make it another initrd
		says         string    // why it is refused
	}{
		{name: "Measured", uefi: true},
		{name: "Kept", retain: true},
		{name: "AnotherInitrd", retain: true, files: []vm.File{{Path: "etc/another", Data: "file"}}, says: "is for another initrd"},
		{name: "AnotherMeasured", uefi: true, files: []vm.File{{Path: "etc/another", Data: "file"}}, says: "give it the kernel parameter " + booted.RetainParam},
		{name: "NeitherMeasuredNorKept", says: "give it the kernel parameter " + booted.RetainParam},
		{name: "AnotherKernel", retain: true, other: true, says: "is for another kernel"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			c := s.machine(vm.CRB)
			c.UEFI, c.Overlay = test.uefi, test.files
			if test.retain {
				c.Append += " " + booted.RetainParam
			}
			kernel := c.Kernel
			if test.other {
				kernel = s.Path("bzImage")
				s.write("bzImage", string(bootedtest.Image(bootedtest.Program(bootedtest.BuildID("of some other kernel")))))
			}
			s.Sealing = []string{"--kernel", kernel, "--initrd", c.Initrd}
			s.seal(greeting(s.lab.CA())...)
			s.start()
			m := vmtest.Start(t, c)
			if test.says == "" {
				if line := await(m, stage.Attest); line.Get("overlay") != "1" {
					t.Errorf("the stage is %v", line)
				}
				says(m, greeted)
				return
			}
			says(m, test.says)
			unattested(t, m, test.says)
			if f := s.fetches(); len(f) > 0 {
				t.Errorf("it was fetched: %+v", f)
			}
		})
	}
}

// large is an overlay's file that does not get much smaller.
func large() station.File {
	var text strings.Builder
	for range 1 << 17 {
		fmt.Fprintf(&text, "%016x", rand.Uint64())
	}
	return station.File{Path: "opt/large", Mode: 0o644, Text: text.String()}
}

// elsewhere is a machine that trusts the lab's authority, and takes an overlay that attestd does not have.
func (s *site) elsewhere() {
	s.t.Helper()
	if err := os.Remove(s.Path("overlays/" + rack + "/overlay.age")); err != nil {
		s.t.Fatal(err)
	}
	s.start()
	c := s.machine(vm.CRB)
	c.Overlay = []vm.File{{Path: "etc/ssl/ember.d/lab.pem", Data: string(s.lab.CA())}}
	m := vmtest.Start(s.t, c)
	if line := await(m, stage.Attest); line.Get("overlay") != "1" {
		s.t.Errorf("the stage is %v", line)
	}
	says(m, greeted)
	if f := s.fetches(); len(f) > 0 {
		s.t.Errorf("attestd was asked for the overlay: %+v", f)
	}
}

// TestAttestWebServer has an overlay on a web server without TLS, which breaks the first connection.
func TestAttestWebServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const address = "10.0.1.1:8081"
	s.Sealing = []string{"--url", "http://" + address + "/files/rack.age"}
	s.seal(append(greeting(s.lab.CA()), large())...)
	ciphertext := s.read("overlays/" + rack + "/overlay.age")
	var asked, rest atomic.Int32
	files := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/files/rack.age" {
			http.NotFound(w, r)
			return
		}
		if asked.Add(1) == 1 {
			w.Header().Set("Content-Length", fmt.Sprint(len(ciphertext)))
			w.Write([]byte(ciphertext[:len(ciphertext)/2]))
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		if strings.HasPrefix(r.Header.Get("Range"), "bytes=") {
			rest.Add(1)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(ciphertext))
	})
	server := &http.Server{Handler: files}
	t.Cleanup(func() { server.Close() })
	go server.Serve(s.lab.Listen("tcp", address))
	s.elsewhere()
	if asked.Load() != 2 || rest.Load() != 1 {
		t.Errorf("the web server was asked %d times, %d times for the rest", asked.Load(), rest.Load())
	}
}

// TestAttestRegistry has an overlay in a registry with TLS, which gives everybody a token.
func TestAttestRegistry(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.seal(append(greeting(s.lab.CA()), large())...)
	pair, err := tls.LoadX509KeyPair(s.lab.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	// The operator's way to the registry is another one than the machines': that network is not the host's.
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	store := registry.NewStore()
	operators := registry.Start(t, store, outside, registry.Options{})
	machines := registry.Start(t, store, s.lab.Listen("tcp", "10.0.1.1:5443"), registry.Options{TLS: &pair, Bearer: true})
	s.must(s.Run(t.Context(), nil, vmtest.File(t, "EMBERCTL"), "push", "overlays/"+rack, operators.Address()+"/overlays/"+rack, "--insecure"))
	s.write("overlays/"+rack+"/url", "oci://"+machines.Address()+"/overlays/"+rack+"\n")
	s.elsewhere()
	if n := machines.Count(func(r registry.Request) bool { return strings.Contains(r.Path, "/blobs/") }); n != 2 {
		t.Errorf("the registry was asked for blobs %d times, want once without and once with a token", n)
	}
}

// TestAttestRegistries has an overlay that says where the images of a registry are, and whom to trust there, and whose
// service pulls one.
func TestAttestRegistries(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	serveImages(t, s.lab)
	s.seal(append(greeting(s.lab.CA()), append(
		station.Unit("pull.service", "[Unit]\nWants=containerd.service\nAfter=containerd.service\n[Service]\nType=oneshot\n"+
			"ExecStart=nerdctl pull -q rack.example/busybox:v1\nExecStart=echo pulled as the overlay says\nStandardOutput=journal+console\n"),
		station.File{Path: "etc/containerd/certs.d/rack.example/hosts.toml", Mode: 0o644, Text: "server = \"https://" + hub + "\"\n"},
	)...)...)
	s.start()
	c := s.machine(vm.TIS)
	c.MemoryMiB = 1024
	says(vmtest.Start(t, c), "pulled as the overlay says")
}
