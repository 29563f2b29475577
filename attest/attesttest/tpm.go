// Package attesttest has what tests of remote attestation share: software TPMs made by swtpm, whose EK
// certificates a test CA signs, answers of one that were recorded, and event logs as firmware writes them.
//
// A test binary calls [Main] from its TestMain. Where TEST_ROOT does not name the tool root that has swtpm,
// tests that need one are skipped.
package attesttest

import (
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/os/vm/swtpm"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// Main runs the tests and removes what they share.
func Main(m *testing.M) {
	toolroot.Init()
	status := m.Run()
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(status)
}

// shared is the CA and the TPMs as they left the factory.
var shared struct {
	sync.Mutex
	dir string
	ca  swtpm.CA
}

// factory gives the directory of the TPM called name, which is made when it is first asked for.
func factory(t testing.TB, root toolroot.Root, name string) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "attest")
		if err != nil {
			t.Fatal(err)
		}
		if shared.ca, err = swtpm.OpenCA(filepath.Join(dir, "ca")); err != nil {
			t.Fatal(err)
		}
		shared.dir = dir
	}
	state := filepath.Join(shared.dir, "tpm", name)
	if !swtpm.Manufactured(state) {
		if err := swtpm.Manufacture(t.Context(), root, shared.ca, name, state); err != nil {
			t.Fatal(err)
		}
	}
	return state
}

// CAFile is the path of the test CA's certificate, in PEM. It is there once there is a TPM.
func CAFile() string {
	shared.Lock()
	defer shared.Unlock()
	return shared.ca.Cert()
}

// Roots holds the test CA. It is there once there is a TPM.
func Roots(t testing.TB) *x509.CertPool {
	t.Helper()
	b, err := os.ReadFile(CAFile())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("no certificate of the test CA")
	}
	return pool
}

// TPM is a TPM of a test. It has no resource manager: there is room for three keys. It may be used by one
// goroutine at a time.
type TPM struct {
	t    testing.TB
	root toolroot.Root
	dir  string // of state and socket

	process process
	control *net.UnixConn
	data    *os.File
}

// process is swtpm.
type process interface {
	Log() string
	Close()
}

// New starts a TPM that is powered on and started up. All of one name have the same EK, made once for the
// test binary; otherwise they have nothing in common and are as they left the factory: a P-384 and an RSA 2048
// EK, both with a certificate. It ends with the test.
func New(t testing.TB, name string) *TPM {
	t.Helper()
	tpm := &TPM{t: t, root: toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}}
	made := factory(t, tpm.root, name)
	dir, err := os.MkdirTemp("", "tpm") // a short path, because of the socket's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tpm.dir = dir
	if err := os.CopyFS(filepath.Join(dir, "state"), os.DirFS(made)); err != nil {
		t.Fatal(err)
	}
	if err := tpm.PowerOn(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpm.PowerOff)
	return tpm
}

// Commands of swtpm's control channel, as QEMU's backends/tpm/tpm_ioctl.h has them.
const (
	cmdInit      = 2
	cmdSetDataFD = 16
)

// PowerOn starts the TPM and has it start up, as firmware does.
func (p *TPM) PowerOn() error {
	started, err := swtpm.Start(p.t.Context(), p.root, filepath.Join(p.dir, "state"), p.dir, "s")
	if err != nil {
		return err
	}
	p.process = started
	if err := p.connect(); err != nil {
		return err
	}
	return p.Reset()
}

// connect powers the TPM on, but has it not start up.
func (p *TPM) connect() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, p.process.Log())
			p.PowerOff()
		}
	}()
	p.control, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(p.dir, "s"), Net: "unix"})
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	p.data = os.NewFile(uintptr(pair[0]), "tpm")
	err = p.command(unix.UnixRights(pair[1]), cmdSetDataFD)
	unix.Close(pair[1])
	if err != nil {
		return err
	}
	return p.command(nil, cmdInit, 0)
}

// command sends a command over the control channel.
func (p *TPM) command(rights []byte, words ...uint32) error {
	b, err := binary.Append(nil, binary.BigEndian, words)
	if err != nil {
		return err
	}
	if _, _, err := p.control.WriteMsgUnix(b, rights, nil); err != nil {
		return err
	}
	reply := make([]byte, 4)
	if _, err := io.ReadFull(p.control, reply); err != nil {
		return err
	}
	if status := binary.BigEndian.Uint32(reply); status != 0 {
		return errors.New("swtpm's control command " + strconv.Itoa(int(words[0])) + ": status " + strconv.Itoa(int(status)))
	}
	return nil
}

// PowerOff takes the power away, in the middle of whatever the TPM does.
func (p *TPM) PowerOff() {
	if p.process == nil {
		return
	}
	if p.control != nil {
		p.control.Close()
	}
	if p.data != nil {
		p.data.Close()
	}
	p.process.Close()
	p.process, p.control, p.data = nil, nil, nil
}

// Reset resets the TPM without telling it before, as a reset button does, and has it start up.
func (p *TPM) Reset() error {
	if err := p.command(nil, cmdInit, 0); err != nil {
		return err
	}
	_, err := tpm2.Startup{StartupType: tpm2.TPMSUClear}.Execute(p)
	return err
}

// Reboot tells the TPM, as Linux does, and resets it.
func (p *TPM) Reboot() error {
	if _, err := (tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}).Execute(p); err != nil {
		return err
	}
	return p.Reset()
}

// Write sends a command and does not wait for the answer.
func (p *TPM) Write(command []byte) error {
	_, err := p.data.Write(command)
	return err
}

const headerSize = 10

// Read waits for an answer.
func (p *TPM) Read() ([]byte, error) {
	response := make([]byte, headerSize)
	if _, err := io.ReadFull(p.data, response); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(response[2:])
	if size < headerSize || size > 4096 {
		return nil, fmt.Errorf("the TPM's answer has %d bytes", size)
	}
	response = append(response, make([]byte, size-headerSize)...)
	_, err := io.ReadFull(p.data, response[headerSize:])
	return response, err
}

// Send is of transport.TPM.
func (p *TPM) Send(command []byte) ([]byte, error) {
	if err := p.Write(command); err != nil {
		return nil, err
	}
	return p.Read()
}

// Close is of transport.TPMCloser. It does what closing /dev/tpmrm0 does: all keys and sessions are removed.
// The TPM stays on.
func (p *TPM) Close() error {
	for _, first := range []tpm2.TPMHandle{0x80000000, 0x02000000, 0x03000000} {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first), PropertyCount: 64}.Execute(p)
		if err != nil {
			return err
		}
		list, err := got.CapabilityData.Data.Handles()
		if err != nil {
			return err
		}
		for _, h := range list.Handle {
			if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Banks has the TPM keep PCRs of these hashes only, from a reset on, which it does too. What is not in all
// includes all that the TPM was made with.
func (p *TPM) Banks(hashes ...tpm2.TPMIAlgHash) error {
	var b []byte
	put := func(values ...any) {
		for _, v := range values {
			b, _ = binary.Append(b, binary.BigEndian, v) // to a slice, of fixed sizes
		}
	}
	all := []tpm2.TPMIAlgHash{tpm2.TPMAlgSHA1, tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384, tpm2.TPMAlgSHA512}
	size := headerSize + 4 + 4 + 9 + 4 + 6*len(all)
	// TPM2_PCR_Allocate, by the platform's empty password
	put(tpm2.TPMSTSessions, uint32(size), uint32(0x12b), tpm2.TPMRHPlatform)
	put(uint32(9), tpm2.TPMRSPW, uint16(0), byte(0), uint16(0), uint32(len(all)))
	for _, hash := range all {
		bits := []byte{0, 0, 0}
		if slices.Contains(hashes, hash) {
			bits = []byte{0xff, 0xff, 0xff}
		}
		put(hash, byte(len(bits)), bits)
	}
	response, err := p.Send(b)
	if err != nil {
		return err
	}
	if rc := tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])); rc != tpm2.TPMRCSuccess {
		return rc
	}
	return p.Reboot()
}
