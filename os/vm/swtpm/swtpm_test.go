package swtpm_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	os.Exit(m.Run())
}

// The control channel's commands, as QEMU's backends/tpm/tpm_ioctl.h has them.
const (
	cmdInit      = 2
	cmdSetDataFD = 16
)

// connect starts the TPM as QEMU does, over the control socket, and as firmware does.
func connect(t *testing.T, socket string) transport.TPM {
	t.Helper()
	dir, err := os.Open(filepath.Dir(socket))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	t.Chdir(dir.Name()) // the path may be longer than a socket's address
	ctrl, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Base(socket)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ctrl.Close() })
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	command := func(rights []byte, words ...uint32) {
		t.Helper()
		b, err := binary.Append(nil, binary.BigEndian, words)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ctrl.WriteMsgUnix(b, rights, nil); err != nil {
			t.Fatal(err)
		}
		reply := make([]byte, 4)
		if _, err := io.ReadFull(ctrl, reply); err != nil || !bytes.Equal(reply, make([]byte, 4)) {
			t.Fatalf("control command %d: %x, %v", words[0], reply, err)
		}
	}
	command(unix.UnixRights(pair[1]), cmdSetDataFD)
	unix.Close(pair[1])
	command(nil, cmdInit, 0)
	data := os.NewFile(uintptr(pair[0]), "tpm")
	t.Cleanup(func() { data.Close() })
	tpm := transport.FromReadWriter(data)
	if _, err := (tpm2.Startup{StartupType: tpm2.TPMSUClear}).Execute(tpm); err != nil {
		t.Fatal(err)
	}
	return tpm
}

func readNV(t *testing.T, tpm transport.TPM, index tpm2.TPMHandle) []byte {
	t.Helper()
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	contents, err := public.NVPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	for len(data) < int(contents.DataSize) {
		read, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
			Size:       min(512, contents.DataSize-uint16(len(data))),
			Offset:     uint16(len(data)),
		}.Execute(tpm)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, read.Data.Buffer...)
	}
	return data
}

func publicKey(t *testing.T, tpm transport.TPM, handle tpm2.TPMHandle) crypto.PublicKey {
	t.Helper()
	read, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(tpm)
	if err != nil {
		t.Fatal(err)
	}
	public, err := read.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// A TPM's EK certificates are its own, signed by the test CA, and still there
// when it is started again.
func TestEKCertificates(t *testing.T) {
	root := toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	ca, err := swtpm.OpenCA(filepath.Join(dir, "ca"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := swtpm.Start(t.Context(), root, state, dir, "sock"); err == nil || !strings.Contains(err.Error(), "holds no TPM") {
		t.Errorf("starting what was never made: %v", err)
	}
	if err := swtpm.Manufacture(t.Context(), root, ca, "test", state); err != nil {
		t.Fatal(err)
	}
	if err := swtpm.Manufacture(t.Context(), root, ca, "test", state); err == nil {
		t.Error("a TPM was made over another")
	}

	b, err := os.ReadFile(ca.Cert())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		t.Fatal("no CA certificate")
	}
	for _, boot := range []string{"first", "second"} {
		t.Run(boot, func(t *testing.T) {
			running, err := swtpm.Start(t.Context(), root, state, dir, "sock")
			if err != nil {
				t.Fatal(err)
			}
			defer running.Close()
			tpm := connect(t, filepath.Join(dir, "sock"))
			for _, ek := range []struct{ cert, key tpm2.TPMHandle }{{0x1c00002, 0x81010001}, {0x1c00016, 0x81010016}} {
				cert, err := x509.ParseCertificate(readNV(t, tpm, ek.cert))
				if err != nil {
					t.Fatal(err)
				}
				cert.UnhandledCriticalExtensions = nil // the subject's alternative name is a directory name
				if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
					t.Errorf("NV index %x: %v", ek.cert, err)
				}
				key := publicKey(t, tpm, ek.key).(interface{ Equal(crypto.PublicKey) bool })
				if !key.Equal(cert.PublicKey) {
					t.Errorf("NV index %x certifies another key than the EK", ek.cert)
				}
			}
		})
	}
}

func TestOpenCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "ca")
	var certs [][]byte
	for range 2 {
		ca, err := swtpm.OpenCA(dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(ca.Cert())
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, b)
	}
	if !bytes.Equal(certs[0], certs[1]) {
		t.Error("the CA was made anew")
	}
	block, _ := pem.Decode(certs[0])
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !cert.IsCA || cert.CheckSignatureFrom(cert) != nil {
		t.Errorf("%+v, %v", cert, err)
	}
}
