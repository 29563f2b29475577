package iso_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/iso"
	"github.com/ember-os/ember/tools/toolroot"
)

func TestMain(m *testing.M) {
	toolroot.Init()
	m.Run()
}

const sector = 2048

// bench is a directory with the parts of an image, and the tools of the boot root.
type bench struct {
	t    *testing.T
	root toolroot.Root
	dir  string
}

func newBench(t *testing.T) bench {
	b := bench{t, toolroot.Root{Marker: vmtest.File(t, "BOOT_ROOT")}, t.TempDir()}
	config, err := iso.Config("console=ttyS0")
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("make.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"kernel": bytes.Repeat([]byte("kernel"), 5000), "initrd": bytes.Repeat([]byte("initrd"), 7000),
		"grub.cfg": config, "make.sh": script,
	} {
		b.write(name, data)
	}
	return b
}

func (b bench) write(name string, data []byte) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, name), data, 0o644); err != nil {
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

// bash runs a script of bash in a new directory of the boot root and returns what it prints.
func (b bench) bash(script string, args ...string) string {
	b.t.Helper()
	cmd, err := b.root.Command(b.t.Context(), toolroot.Options{
		Binds: []toolroot.Bind{{Src: b.dir, Dst: "/bench", Write: true}, {Src: b.t.TempDir(), Dst: "/scratch", Write: true}},
		Dir:   "/scratch", NoNet: true,
	}, "bash", append([]string{"-euc", script, "bash"}, args...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%q %q: %v\n%s", script, args, err, &out)
	}
	return out.String()
}

func (b bench) make(name string) []byte {
	b.t.Helper()
	b.bash(". /bench/make.sh", "/bench/kernel", "/bench/initrd", "/bench/grub.cfg", "/bench/"+name)
	return b.read(name)
}

func TestImage(t *testing.T) {
	b := newBench(t)
	image := b.make("ember.iso")
	if at := bytes.Index(image, []byte(iso.Placeholder)); at < 0 || at/sector != (at+len(iso.Placeholder)-1)/sector {
		t.Errorf("what the server replaces is at %d, not in one sector", at)
	}
	if n := bytes.Count(image, []byte(iso.Placeholder)); n != 1 {
		t.Errorf("what the server replaces is there %d times", n)
	}

	b.bash(`xorriso -osirrox on -indev /bench/ember.iso -extract / /bench/files >log 2>&1 || { cat log; exit 1; }; chmod -R u+w /bench/files`)
	for file, want := range map[string]string{"vmlinuz": "kernel", "initramfs": "initrd", "grub/grub.cfg": "grub.cfg"} {
		if !bytes.Equal(b.read("files/boot/"+file), b.read(want)) {
			t.Errorf("%s is not the %s", file, want)
		}
	}

	report := b.bash(`xorriso -indev /bench/ember.iso -report_el_torito plain -report_system_area plain 2>/dev/null`)
	for _, want := range []string{`El Torito boot img :   1  BIOS  y   none`, `El Torito boot img :   2  UEFI  y   none`, `grub2-boot-info`, `System area summary: MBR .*grub2-mbr.* GPT`, `GPT type GUID      :   2  28732ac11ff8d211ba4b00a0c93ec93b`} {
		if !regexp.MustCompile(want).MatchString(report) {
			t.Errorf("%q is not in\n%s", want, report)
		}
	}
	lba := regexp.MustCompile(`boot img :   2 .* (\d+)\n`).FindStringSubmatch(report)
	if lba == nil {
		t.Fatalf("where the FAT is does not show in\n%s", report)
	}
	if list := b.bash(`mdir -b -/ -i /bench/ember.iso@@$(($1 * 2048)) ::`, lba[1]); !strings.Contains(list, "::/EFI/BOOT/BOOTX64.EFI") {
		t.Errorf("the FAT holds\n%s", list)
	}
}

// The bytes do not depend on when and where an image is made, and do on what is in it.
func TestImageIsReproducible(t *testing.T) {
	b := newBench(t)
	one := b.make("one.iso")
	b.write("kernel", b.read("kernel")) // a new time
	if err := os.Chmod(filepath.Join(b.dir, "kernel"), 0o555); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, b.make("two.iso")) {
		t.Error("made again it is different")
	}
	other := newBench(t)
	other.write("initrd", []byte("another"))
	if bytes.Equal(one, other.make("one.iso")) {
		t.Error("another initrd makes no difference")
	}
}

// What the server writes in place of the string is a command line that GRUB can read.
func TestReplaced(t *testing.T) {
	b := newBench(t)
	image := b.make("ember.iso")
	const line = "console=ttyAMA0 console=ttyS0 console=tty0 console=tty1 console=ttyS1 vlan_id=30 hw_addr=52:54:00:12:34:01 syslog_host=192.168.2.50 " +
		"grpc_authority=192.168.2.50:42113 tinkerbell_tls=false worker_id=52:54:00:12:34:01 ipam=52-54-00-12-34-01:30:192.168.2.10:255.255.255.0:192.168.2.1:m:1.1.1.1,8.8.8.8::"
	patched := bytes.Replace(image, []byte(iso.Placeholder), []byte(line+strings.Repeat(" ", len(iso.Placeholder)-len(line))), 1)
	b.write("patched.iso", patched)
	config := b.bash(`xorriso -osirrox on -indev /bench/patched.iso -extract /boot/grub/grub.cfg grub.cfg >log 2>&1 || { cat log; exit 1; }; grub-script-check grub.cfg; cat grub.cfg`)
	if !strings.Contains(config, "linux /boot/vmlinuz console=ttyS0 "+line+" ") {
		t.Errorf("the configuration is\n%s", config)
	}
}
