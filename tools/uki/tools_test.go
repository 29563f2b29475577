package uki_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
	"github.com/ember-os/ember/tools/uki"
	"github.com/ember-os/ember/tools/uki/pe"
	"github.com/ember-os/ember/tools/uki/pe/petest"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	m.Run()
}

// bench is a directory with an image of the real stub in it, and others' tools.
type bench struct {
	t    *testing.T
	root toolroot.Root
	dir  string
}

func newBench(t *testing.T) bench {
	b := bench{t, toolroot.Root{Marker: vmtest.File(t, "BOOT_ROOT")}, t.TempDir()}
	root, err := b.root.Dir()
	if err != nil {
		t.Fatal(err)
	}
	stub, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/boot/efi/linuxx64.efi.stub"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := uki.Build(stub, uki.Content{
		Kernel:    petest.Image(petest.Options{Sections: [][2]string{{".setup", strings.Repeat("kernel", 1000)}}}),
		Initrd:    []byte("initrd"),
		Cmdline:   "console=ttyS0",
		OSRelease: []byte("ID=ember\n"),
		Release:   "6.12.1",
	})
	if err != nil {
		t.Fatal(err)
	}
	b.write("image", image)
	return b
}

func (b bench) write(name string, data []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b bench) read(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		b.t.Fatal(err)
	}
	return data
}

// run runs a tool in the directory and returns what it prints.
func (b bench) run(name string, args ...string) (string, error) {
	b.t.Helper()
	cmd, err := b.root.Command(b.t.Context(), toolroot.Options{
		Binds: []toolroot.Bind{{Src: b.dir, Dst: "/bench", Write: true}}, Dir: "/bench", NoNet: true,
	}, name, args...)
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

func (b bench) must(name string, args ...string) string {
	b.t.Helper()
	out, err := b.run(name, args...)
	if err != nil {
		b.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return out
}

// makeKey makes NAME.key and NAME.pem.
func (b bench) makeKey(name string) {
	b.t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		b.t.Fatal(err)
	}
	b.write(name+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	b.write(name+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
}

func (b bench) digest(name string) string {
	b.t.Helper()
	image, err := pe.Parse(b.read(name))
	if err != nil {
		b.t.Fatal(err)
	}
	sum, err := image.Digest()
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("%X", sum)
}

// Others' tools agree with our digest and our checksum, and their signatures hold on
// our image: the one with the key that signed, and no other.
func TestSigning(t *testing.T) {
	b := newBench(t)
	b.makeKey("ours")
	b.makeKey("other")
	b.must("sbsign", "--key", "ours.key", "--cert", "ours.pem", "--output", "signed", "image")
	if out := b.must("osslsigncode", "verify", "-CAfile", "ours.pem", "-in", "signed"); !strings.Contains(out, ": "+b.digest("image")) {
		t.Errorf("our digest is %s; osslsigncode says\n%s", b.digest("image"), out)
	}
	if b.digest("signed") != b.digest("image") {
		t.Error("the digest of the signed image is another")
	}
	b.must("sbverify", "--cert", "ours.pem", "signed")
	if out, err := b.run("sbverify", "--cert", "other.pem", "signed"); err == nil {
		t.Errorf("another certificate is taken:\n%s", out)
	}
	changed := b.read("signed")
	changed[bytes.Index(changed, []byte("console="))]++
	b.write("changed", changed)
	if out, err := b.run("sbverify", "--cert", "ours.pem", "changed"); err == nil {
		t.Errorf("a changed command line is taken:\n%s", out)
	}
	if out, _ := b.run("osslsigncode", "verify", "-CAfile", "ours.pem", "-in", "image"); !strings.Contains(out, "PE checksum   : ") || strings.Contains(out, "invalid PE checksum") {
		t.Errorf("the checksum is wrong; osslsigncode says\n%s", out)
	}
}

// The way in which the rule signs gives the same bytes at any time, and nothing but
// the signature changes.
func TestSigningIsReproducible(t *testing.T) {
	b := newBench(t)
	b.makeKey("ours")
	for _, out := range []string{"one", "two"} {
		b.must("bash", "-euc", string(b.script()), "bash", "image", "ours.key", "ours.pem", out)
	}
	if !bytes.Equal(b.read("one"), b.read("two")) {
		t.Error("signed twice it is different")
	}
	b.must("sbverify", "--cert", "ours.pem", "one")
	if b.digest("one") != b.digest("image") {
		t.Error("the digest of the signed image is another")
	}
}

func (b bench) script() []byte {
	b.t.Helper()
	script, err := os.ReadFile("sign.sh")
	if err != nil {
		b.t.Fatal(err)
	}
	return script
}
