package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io/fs"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/logline"
	"golang.org/x/sys/unix"
)

// authority makes a certificate of its own, always the same for a name.
func authority(name string) (der []byte, key ed25519.PrivateKey) {
	key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return der, key
}

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func certificate(name string) string {
	der, _ := authority(name)
	return block("CERTIFICATE", der)
}

func privateKey() string {
	_, key := authority("anyone")
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return block("PRIVATE KEY", der)
}

// names reads a bundle as Go's programs do.
func names(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(text) {
		t.Errorf("the bundle holds nothing: %q", text)
	}
	certificates, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range certificates {
		all = append(all, c.Subject.CommonName)
	}
	return strings.Join(all, " ")
}

func TestUpdate(t *testing.T) {
	der, _ := authority("Q")
	base := "# of the image\n" + certificate("A") + certificate("B")
	for _, test := range []struct {
		name, base string
		added      map[string]string // nil for no folder
		want       string            // "" for no bundle
		logged     []string          // in the order of the lines
	}{
		{"nothing added", base, nil, "A B", []string{"<6>certificate authorities of_image=2 added=0"}},
		{"empty folder", base, map[string]string{}, "A B", []string{"added=0"}},
		{"by order of names", base, map[string]string{"2.crt": certificate("C"), "10.pem": certificate("D") + "text\n" + certificate("E"), "q.cer": string(der)},
			"A B D E C Q", []string{"added=4"}},
		{"twice", base, map[string]string{"1.pem": certificate("B"), "2.pem": certificate("C") + certificate("C"), "3.pem": certificate("C")},
			"A B C", []string{"added=1"}},
		{"base without a line end", strings.TrimSpace(base), map[string]string{"1.pem": certificate("C")}, "A B C", []string{"added=1"}},
		{"with a key", base, map[string]string{"1.pem": certificate("C") + privateKey(), "2.pem": certificate("D")},
			"A B D", []string{"<4>not trusting a file file=.../1.pem err=\"it holds a private key", "added=1"}},
		{"with something else", base, map[string]string{"1.pem": block("TRUSTED CERTIFICATE", der)},
			"A B", []string{`block of type \"TRUSTED CERTIFICATE\"`, "added=0"}},
		{"damaged", base, map[string]string{"1.pem": certificate("C") + certificate("D")[:200], "2.pem": strings.Replace(certificate("C"), "M", "#", 1), "3.pem": block("CERTIFICATE", der[1:])},
			"A B", []string{"1.pem err=\"of its 2 PEM blocks 1 are damaged", "2.pem err=\"of its 1 PEM blocks 1 are", "3.pem err=\"certificate 1 of 1: x509: ", "added=0"}},
		{"no certificates", base, map[string]string{"1.crt": "", "2.cer": "hello", "README": "hello"},
			"A B", []string{"README err=\"its name does not end", "1.crt err=\"certificate 1 of 1: ", "2.cer err=", "added=0"}},
		{"no base", "", map[string]string{"1.pem": certificate("C")}, "C", []string{"<3>the image's own authorities", "added=1"}},
		{"junk for a base", "junk", map[string]string{"1.pem": certificate("C")}, "C", []string{"<3>the image's own authorities", "added=1"}},
		{"nothing at all", "", nil, "", []string{"<3>the image's own authorities"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			basePath, added, bundle := filepath.Join(dir, "base.crt"), filepath.Join(dir, "ember.d"), filepath.Join(dir, "ssl/certs/bundle.crt")
			if test.base != "" {
				write(t, basePath, test.base)
			}
			for name, text := range test.added {
				write(t, filepath.Join(added, name), text)
			}
			var out bytes.Buffer
			err := update(logline.New(&out, slog.LevelInfo), basePath, added, bundle)
			if (err == nil) != (test.want != "") {
				t.Fatalf("update: %v", err)
			}
			if test.want != "" {
				if got := names(t, bundle); got != test.want {
					t.Errorf("trusted are %s, want %s", got, test.want)
				}
				if text, _ := os.ReadFile(bundle); test.base != "" && test.base != "junk" && !strings.HasPrefix(string(text), test.base) {
					t.Error("the image's bundle is not what the bundle begins with")
				}
			}
			lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(out.String()), added, "..."), "\n")
			if !slices.EqualFunc(lines, test.logged, strings.Contains) {
				t.Errorf("logged %q, want %q", lines, test.logged)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestUpdateAgain: a bundle that is right is not written again, one that is not is
// replaced, also by a smaller one.
func TestUpdateAgain(t *testing.T) {
	dir := t.TempDir()
	base, added, bundle := filepath.Join(dir, "base.crt"), filepath.Join(dir, "ember.d"), filepath.Join(dir, "bundle.crt")
	write(t, base, certificate("A"))
	write(t, filepath.Join(added, "b.pem"), certificate("B"))
	run := func(want string) fs.FileInfo {
		t.Helper()
		if err := update(slog.New(slog.DiscardHandler), base, added, bundle); err != nil {
			t.Fatal(err)
		}
		if got := names(t, bundle); got != want {
			t.Errorf("trusted are %s, want %s", got, want)
		}
		info, err := os.Stat(bundle)
		if err != nil || info.Mode() != 0o644 {
			t.Fatal(info, err)
		}
		return info
	}
	first := run("A B")
	if !os.SameFile(first, run("A B")) {
		t.Error("the bundle was written again")
	}
	if err := os.Remove(filepath.Join(added, "b.pem")); err != nil {
		t.Fatal(err)
	}
	run("A")
	if err := os.WriteFile(bundle, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	run("A")
}

// TestSpecialFiles: a FIFO does not hang the boot, a link is followed.
func TestSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, link, dangling := filepath.Join(dir, "fifo.pem"), filepath.Join(dir, "link.pem"), filepath.Join(dir, "dangling.pem")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "data"), certificate("A"))
	for from, to := range map[string]string{link: "data", dangling: "nothing"} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]bool{fifo: false, link: true, dangling: false, dir: false} {
		var c collection
		if err := c.addFile(path); (err == nil) != want || c.count > 0 != want {
			t.Errorf("%s: %d certificates, %v", path, c.count, err)
		}
	}
}

func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	base, bundle := filepath.Join(dir, "base.crt"), filepath.Join(dir, "certs")
	write(t, base, certificate("A"))
	write(t, filepath.Join(bundle, "in-the-way"), "")
	if err := update(slog.New(slog.DiscardHandler), base, dir, bundle); err == nil {
		t.Error("a bundle that is a folder was written")
	}
}

// FuzzRead: what is read can be written as PEM and read again, and no key is in it.
func FuzzRead(f *testing.F) {
	der, _ := authority("A")
	for _, seed := range []string{"", certificate("A"), certificate("A") + certificate("B"), privateKey(), string(der), certificate("A")[:99]} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		certificates, err := read(data)
		if err != nil {
			if certificates != nil {
				t.Error("certificates and an error")
			}
			return
		}
		if len(certificates) == 0 {
			t.Fatal("neither certificates nor an error")
		}
		var text strings.Builder
		for _, c := range certificates {
			text.WriteString(block("CERTIFICATE", c.Raw))
		}
		again, err := read([]byte(text.String()))
		if err != nil || !slices.EqualFunc(certificates, again, (*x509.Certificate).Equal) {
			t.Errorf("read again: %v, %v", again, err)
		}
	})
}
