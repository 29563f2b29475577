package bazelw

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const debianSh = "tools/debian/debian.sh"

// lock writes a lock of two packages and returns its path and that of a folder
// for them.
func (m *machine) lock() (lock, debs string) {
	m.t.Helper()
	lock = filepath.Join(m.dir, "some.lock")
	m.write(lock, "suite forky\nexclude ./usr/share/doc/*\nlink usr/bin/awk mawk\n"+
		m.deb("first", "1", map[string]string{"usr/share/doc/first": "", "bin/first": "1\n"})+
		m.deb("base-files", "2", map[string]string{"bin": "->usr/bin", "usr/bin/b": "2\n"}), 0o644)
	return lock, filepath.Join(m.dir, "some debs")
}

func forEachDownloader(t *testing.T, test func(*testing.T, *machine)) {
	for _, name := range []string{"apt", "curl"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.downloader(name)
			test(t, m)
		})
	}
}

func TestFetchUnpack(t *testing.T) {
	t.Parallel()
	forEachDownloader(t, func(t *testing.T, m *machine) {
		lock, debs := m.lock()
		root := filepath.Join(m.dir, "a root")
		for range 2 {
			if status, _, stderr := m.run(debianSh, "fetch", lock, debs); status != 0 {
				t.Fatal(stderr)
			}
		}
		if n := m.asked["/debian/pool/first_1_all.deb"]; n != 1 {
			t.Errorf("a package was asked for %d times", n)
		}
		if status, _, stderr := m.run(debianSh, "unpack", lock, debs, root); status != 0 || stderr != "" {
			t.Fatal(status, stderr)
		}
		if text, err := os.ReadFile(filepath.Join(root, "usr/bin/first")); string(text) != "1\n" {
			t.Errorf("/bin/first is not below the link of base-files: %q, %v", text, err)
		}
		if target, _ := os.Readlink(filepath.Join(root, "usr/bin/awk")); target != "mawk" {
			t.Errorf("awk links to %q", target)
		}
		if _, err := os.Lstat(filepath.Join(root, "usr/share/doc/first")); err == nil {
			t.Error("an excluded file was unpacked")
		}
		deb, _ := filepath.Glob(filepath.Join(debs, "*.deb"))
		if _, version, _ := m.run(debianSh, "version", deb[0]); version != "1\n" && version != "2\n" {
			t.Errorf("version %q", version)
		}
	})
}

// Only a package that is gone may be replaced, and none that has other bytes.
func TestFetchFailures(t *testing.T) {
	t.Parallel()
	const path = "/debian/pool/first_1_all.deb"
	for _, c := range []struct {
		name, sentence string
		change         func(*machine)
		keeps          int
	}{
		{"wrong", "the mirror serves other bytes than the lock names for: first; take another mirror", func(m *machine) {
			m.files[path][9] ^= 1
		}, 1},
		{"short", "downloading first: ", func(m *machine) {
			m.files[path] = append([]byte("short:"), m.files[path]...)
		}, 1},
		{"locked", "no longer has the locked version of: first; renew the lock", func(m *machine) {
			delete(m.files, path)
			m.env = append(m.env, "EMBER_LOCKED=1")
		}, 1},
		{"unreachable", "check the network, http_proxy, and the mirror", func(m *machine) {
			m.env = append(m.env, "EMBER_DEBIAN_MIRROR=http://127.0.0.1:1/debian")
		}, 0},
		{"proxy", "check the network, http_proxy, and the mirror", func(m *machine) {
			m.env = append(m.env, "no_proxy=", "http_proxy=http://127.0.0.1:1")
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			forEachDownloader(t, func(t *testing.T, m *machine) {
				lock, debs := m.lock()
				c.change(m)
				m.refused(c.sentence, debianSh, "fetch", lock, debs)
				if kept, _ := filepath.Glob(filepath.Join(debs, "*.deb")); c.keeps != len(kept) {
					t.Errorf("%d packages were kept, wanted %d", len(kept), c.keeps)
				}
			})
		})
	}
}

func TestGoneWithoutApt(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.downloader("curl")
	lock, debs := m.lock()
	delete(m.files, "/debian/pool/first_1_all.deb")
	m.refused("no longer has the locked version of: first, and finding the present one needs apt", debianSh, "fetch", lock, debs)
}

func TestGone(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.downloader("apt")
	if keys, _ := filepath.Glob("/usr/share/keyrings/debian-archive-keyring.*"); keys == nil {
		t.Skip("this machine has no debian-archive-keyring")
	}
	lock, _ := m.lock()
	delete(m.files, "/debian/pool/first_1_all.deb")
	debs := filepath.Join(m.dir, "some debs")
	m.check(os.Mkdir(debs, 0o755))
	newer := deb("first", "3", nil)
	m.write(filepath.Join(m.dir, "first_3_all.deb"), string(newer), 0o644)
	m.tool("apt-get", `case "$*" in "-qq update") ;; "-qq download first") cp "`+m.dir+`/first_3_all.deb" . ;; *) exit 1 ;; esac`)
	status, _, stderr := m.run(debianSh, "fetch", lock, debs, "first")
	if status != 0 || strings.Count(stderr, "\n") != 2 || !strings.Contains(stderr, "WARNING") || !strings.Contains(stderr, "first_3_all.deb") {
		t.Fatalf("exit status %d, errors %q", status, stderr)
	}
	line, err := os.ReadFile(lock)
	m.check(err)
	hash := regexp.MustCompile(`first 1 .* (.*)`).FindSubmatch(line)[1]
	if text, err := os.ReadFile(filepath.Join(debs, string(hash)+".deb")); string(text) != string(newer) {
		t.Errorf("the package is not the newer one: %v", err)
	}
}

// A package that the suite has in no version any more is not replaced.
func TestGoneForGood(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.downloader("apt")
	if keys, _ := filepath.Glob("/usr/share/keyrings/debian-archive-keyring.*"); keys == nil {
		t.Skip("this machine has no debian-archive-keyring")
	}
	lock, debs := m.lock()
	delete(m.files, "/debian/pool/first_1_all.deb")
	m.tool("apt-get", `case "$*" in "-qq update") ;; *) echo "E: Unable to locate package first" >&2; exit 100 ;; esac`)
	m.refused("the mirror no longer has the locked version of: first, and not all of them in another one (E: Unable to locate package first); update this workspace, renew the lock", debianSh, "fetch", lock, debs)
}

func TestNoDownloader(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	lock, debs := m.lock()
	m.refused("needs apt or curl", debianSh, "fetch", lock, debs)
}

func TestMirror(t *testing.T) {
	t.Parallel()
	const uris = `echo "'http://%s/dists/%s/main/binary-amd64/Packages.xz' x 0 "`
	for _, c := range []struct{ name, apt, debian, security string }{
		{"one", "m.test/debian/ trixie", "http://m.test/debian", "http://m.test/debian-security"},
		{"both", "m.test/debian trixie s.test/debian-security trixie-security", "http://m.test/debian", "http://s.test/debian-security"},
		{"folder", "m.test/pub/debian/ sid", "http://m.test/pub/debian", "http://m.test/pub/debian-security"},
		{"other", "m.test/ubuntu noble", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			m.env = append(m.env, "EMBER_DEBIAN_MIRROR=")
			var script strings.Builder
			words := strings.Fields(c.apt)
			for i := 0; i < len(words); i += 2 {
				script.WriteString(strings.NewReplacer("%s/d", words[i]+"/d", "s/%s", "s/"+words[i+1]).Replace(uris) + "\n")
			}
			m.tool("apt-get", script.String())
			if c.debian == "" {
				m.refused("neither apt's sources nor EMBER_DEBIAN_MIRROR name a Debian mirror", debianSh, "mirror", "debian")
				return
			}
			for archive, want := range map[string]string{"debian": c.debian, "debian-security": c.security} {
				if _, got, stderr := m.run(debianSh, "mirror", archive); got != want+"\n" {
					t.Errorf("%s is %q, wanted %s\n%s", archive, got, want, stderr)
				}
			}
		})
	}
}

func TestUnpackFullDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.downloader("curl")
	lock := filepath.Join(m.dir, "big.lock")
	m.write(lock, m.deb("big", "1", map[string]string{"big": strings.Repeat("0123456789abcdef", 1<<17)}), 0o644)
	if status, _, stderr := m.run(debianSh, "fetch", lock, m.dir); status != 0 {
		t.Fatal(stderr)
	}
	at := filepath.Join(m.dir, "small")
	m.check(os.Mkdir(at, 0o755))
	small := exec.Command("unshare", "--user", "--map-root-user", "--mount", "bash", "-c",
		`mount -t tmpfs -o size=1m small "$1" && exec bash "$2" unpack "$3" "$4" "$1/root"`,
		"small", at, filepath.Join(m.workspace, debianSh), lock, m.dir)
	out, err := small.CombinedOutput()
	if want := "the disk that holds " + at + "/root is full"; err == nil || strings.Count(string(out), "\n") != 1 || !strings.Contains(string(out), want) {
		t.Errorf("%v, %s, wanted %s", err, out, want)
	}
}
