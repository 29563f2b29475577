package os_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/bootserver"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/lab"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/measurements"
	"github.com/ember-os/ember/tools/toolroot"
	"github.com/ember-os/ember/tools/uki"
)

// The names under which the boot server has what machines boot.
const (
	bootServer = "10.0.1.1"
	ukiName    = bootserver.Name
	scriptName = "boot.ipxe"
	ipxeName   = "snponly.efi"
)

// firmware is a machine whose firmware finds out what to boot.
func firmware(t testing.TB) vm.Config {
	c := config(t)
	c.Kernel, c.Initrd = "", ""
	c.MemoryMiB = 768 // the firmware keeps what it loads, and its file system
	return c
}

// bootLab is a network whose DHCP server says what to boot, and in which folders are served by TFTP, and by HTTP at
// bootServer, if they are given.
func bootLab(t testing.TB, dhcp, tftp, overHTTP string) *lab.Lab {
	t.Helper()
	n := lan("boot", "1")
	n.DHCP += "\n" + dhcp
	l := lab.Start(t, lab.Config{
		Root:    toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")},
		LANs:    []lab.LAN{n},
		Servers: []lab.Server{lab.DNSMasq},
		Files:   tftp,
	})
	if overHTTP != "" {
		server := &http.Server{Handler: http.FileServer(http.Dir(overHTTP))}
		go server.Serve(l.Listen("tcp", bootServer+":80"))
		t.Cleanup(func() { server.Close() })
	}
	return l
}

// ipxeFolder is a folder with iPXE in it, as ipxeName.
func ipxeFolder(t testing.TB) string {
	t.Helper()
	root, err := toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}.Dir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "usr/lib/ipxe")
}

// ipxeLab serves a folder to iPXE, and iPXE to UEFI machines. It is in the ROM of others.
func ipxeLab(t testing.TB, folder string) *lab.Lab {
	t.Helper()
	return bootLab(t, ipxeDHCP, ipxeFolder(t), folder)
}

// ukiFolder is a folder with a unified kernel image in it.
func ukiFolder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	copyFile(t, vmtest.File(t, "VM_UKI"), filepath.Join(dir, ukiName))
	return dir
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// ukiDisk is a disk with a unified kernel image where firmware looks without being told.
func ukiDisk(t testing.TB, uki string) vm.Disk {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk")
	root := toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}
	if err := disk.Make(t.Context(), root, image, map[string]string{"EFI/BOOT/BOOTX64.EFI": uki}, 0); err != nil {
		t.Fatal(err)
	}
	return vm.Disk{Path: image}
}

// ipxeDHCP gives iPXE its script, and others iPXE. UEFI HTTP boot, which firmware tries when iPXE has given up, is
// told at once that there is nothing: it waits a minute for a better answer than one that is not for it.
var ipxeDHCP = "dhcp-match=set:ipxe,175\n" +
	"dhcp-boot=tag:ipxe,http://" + bootServer + "/" + scriptName + "\n" +
	"dhcp-boot=tag:!ipxe,tag:!http," + ipxeName + "\n" +
	bootserver.HTTPBoot(bootServer, "none")

const pxeDHCP = "dhcp-boot=" + ukiName

var httpDHCP = bootserver.HTTPBoot(bootServer, ukiName)

func bootCard(l *lab.Lab, way vm.Netboot) []vm.NIC {
	card := l.Port("boot")
	card.Boot = way
	return []vm.NIC{card}
}

// vmCmdline is that of //os:vm_uki and //os:vm_ipxe.
const vmCmdline = "console=ttyS0 no_timer_check ember.debug=shell retain_initrd"

// users is what is in the image that users get.
func users(t testing.TB) uki.Content {
	t.Helper()
	c, err := uki.Read(readFile(t, vmtest.File(t, "UKI")))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUKI looks into the image that users get, and into that of the virtual machines, signed and not.
func TestUKI(t *testing.T) {
	t.Parallel()
	got := users(t)
	if !bytes.Equal(got.Kernel, readFile(t, vmtest.File(t, "KERNEL"))) || !bytes.Equal(got.Initrd, readFile(t, vmtest.File(t, "INITRD"))) {
		t.Error("kernel or initrd are not those that are published")
	}
	if !strings.HasSuffix(got.Release, "-ember") || !bytes.Contains(got.OSRelease, []byte("ID=ember\n")) {
		t.Errorf("it has release %q, os-release %q", got.Release, got.OSRelease)
	}
	plain, err := uki.Program(readFile(t, vmtest.File(t, "VM_UKI")))
	if err != nil {
		t.Fatal(err)
	}
	if signed, err := uki.Program(readFile(t, vmtest.File(t, "VM_UKI_SIGNED"))); err != nil || signed != plain {
		t.Errorf("signed it is measured as %x, else as %x: %v", signed, plain, err)
	}
}

// reaches is await for machines whose firmware and loaders take their time and say so: patience is for silence.
func reaches(m *vmtest.Machine, name string) stage.Line {
	for {
		line, ok := stage.Parse(m.Line(func(string) bool { return true }))
		if ok && line.Name == name {
			return line
		}
	}
}

// cameUp waits for the system, and checks its command line.
func cameUp(t *testing.T, m *vmtest.Machine, cmdline string) {
	t.Helper()
	reaches(m, stage.Ready)
	if line := ask(t, m, "cat /proc/cmdline"); !strings.HasSuffix(" "+line, " "+cmdline) {
		t.Errorf("the command line is %q, not %q", line, cmdline)
	}
}

// TestBootPaths has firmware of both kinds find the system by itself, in each way. With UEFI, the TPM records what
// was predicted.
func TestBootPaths(t *testing.T) {
	for _, test := range []struct {
		name string
		uefi bool
		boot func(t *testing.T, c *vm.Config)
		// What policies take the machine for afterwards.
		ways []string
	}{
		{"IPXEOnBIOS", false, func(t *testing.T, c *vm.Config) {
			c.NICs = bootCard(ipxeLab(t, filepath.Dir(vmtest.File(t, "VM_IPXE"))), vm.IPXE)
		}, nil},
		{"IPXEOnUEFI", true, func(t *testing.T, c *vm.Config) {
			c.NICs = bootCard(ipxeLab(t, filepath.Dir(vmtest.File(t, "VM_IPXE"))), vm.PXE)
		}, []string{measurements.IPXE, measurements.AnyCmdline}},
		{"PXE", true, func(t *testing.T, c *vm.Config) {
			c.NICs = bootCard(bootLab(t, pxeDHCP, ukiFolder(t), ""), vm.PXE)
		}, []string{measurements.UKI}},
		{"HTTPBoot", true, func(t *testing.T, c *vm.Config) {
			c.NICs = bootCard(bootLab(t, httpDHCP, "", ukiFolder(t)), vm.HTTPBoot)
		}, []string{measurements.UKI}},
		{"Disk", true, func(t *testing.T, c *vm.Config) {
			c.Disks = []vm.Disk{ukiDisk(t, vmtest.File(t, "VM_UKI"))}
		}, []string{measurements.UKI}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := firmware(t)
			if c.UEFI = test.uefi; test.uefi {
				c.TPM = vm.CRB
			}
			test.boot(t, &c)
			m := vmtest.Start(t, c)
			cameUp(t, m, vmCmdline)
			switch {
			case slices.Contains(test.ways, measurements.IPXE):
				asPredicted(t, m, predictedWith(t, readFile(t, filepath.Join(ipxeFolder(t), ipxeName))), test.ways...)
			case test.uefi:
				asPredicted(t, m, predicted(t), test.ways...)
			}
		})
	}
}

// TestBootFallsThrough has a boot server with the script and nothing else: iPXE gives up, and firmware goes on to
// the disk.
func TestBootFallsThrough(t *testing.T) {
	script := func(t *testing.T) *lab.Lab {
		dir := t.TempDir()
		copyFile(t, vmtest.File(t, "VM_IPXE"), filepath.Join(dir, scriptName))
		return ipxeLab(t, dir)
	}
	t.Run("BIOS", func(t *testing.T) {
		t.Parallel()
		c := firmware(t)
		c.NICs = bootCard(script(t), vm.IPXE)
		// As it is on a stick.
		c.Disks = []vm.Disk{{NBD: serveISO(t, vmCmdline)}}
		cameUp(t, vmtest.Start(t, c), vmCmdline)
	})
	t.Run("UEFI", func(t *testing.T) {
		t.Parallel()
		c := firmware(t)
		c.UEFI, c.TPM = true, vm.CRB
		c.NICs = bootCard(script(t), vm.PXE)
		c.Disks = []vm.Disk{ukiDisk(t, vmtest.File(t, "VM_UKI"))}
		m := vmtest.Start(t, c)
		cameUp(t, m, vmCmdline)
		// That iPXE came first is recorded, and good where the site says which one that is.
		withIPXE := predictedWith(t, readFile(t, filepath.Join(ipxeFolder(t), ipxeName)))
		asPredicted(t, m, withIPXE, measurements.UKI)
		if ways := ways(t, predicted(t), recorded(t, m)); len(ways) > 0 {
			t.Errorf("policies that know of no iPXE take the machine for one that has booted by %q", ways)
		}
	})
}

// secureBootState prints 1 if Secure Boot is on.
const secureBootState = "tail -c 1 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | od -An -tu1"

// TestSecureBoot has firmware that enforces Secure Boot: with the key that signed the image, and with another.
func TestSecureBoot(t *testing.T) {
	secure := func(t *testing.T, certificate *x509.Certificate) *vmtest.Machine {
		t.Parallel()
		c := firmware(t)
		c.UEFI, c.SecureBoot = true, certificate
		c.Disks = []vm.Disk{ukiDisk(t, vmtest.File(t, "VM_UKI_SIGNED"))}
		return vmtest.Start(t, c)
	}
	t.Run("Accepted", func(t *testing.T) {
		m := secure(t, readCertificate(t, "SECURE_BOOT_CERTIFICATE"))
		cameUp(t, m, vmCmdline)
		if on := ask(t, m, secureBootState); on != "1" {
			t.Errorf("the firmware says that Secure Boot is %q", on)
		}
	})
	t.Run("Refused", func(t *testing.T) {
		m := secure(t, readCertificate(t, "OTHER_CERTIFICATE"))
		said := m.Line(func(line string) bool {
			_, ours := stage.Parse(line)
			return ours || strings.Contains(line, "BdsDxe: failed to load Boot") && strings.Contains(line, "Access Denied")
		})
		if _, ours := stage.Parse(said); ours {
			t.Fatalf("the system has been started: %s", said)
		}
	})
}

func readCertificate(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	b, err := os.ReadFile(vmtest.File(t, name))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("%s is not PEM", name)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}
