package os_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest/station"
	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/bootserver"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/ovmf"
	"github.com/ember-os/ember/os/vm/vmtest"
	"github.com/ember-os/ember/tools/toolroot"
)

// Where the slots of a machine are, and the limits that its boots have: what must go wrong does so soon, and what
// must go right has time on a slow host.
const (
	slotA     = "EFI/BOOT/BOOTX64.EFI"
	slotB     = "EFI/EMBERB/BOOT.EFI"
	lkgLimits = "attest:20s,disk:20s,start:40s,hold:1s,wait:1s,longest:2s,probe:2s"
	espFree   = 160 << 20

	firmwareVars = "ovmf-vars.fd" // in a machine's directory
)

// rackMachine is a machine that boots from the network, by HTTP, and has a disk with an EFI system partition that is
// empty.
type rackMachine struct {
	*site
	t      testing.TB
	config vm.Config
	image  string // of its disk
	boots  bootserver.Server
}

func newRackMachine(t testing.TB, free int64) *rackMachine {
	t.Helper()
	r := &rackMachine{t: t, image: filepath.Join(t.TempDir(), "disk")}
	n := lan("boot", "1")
	n.DHCP += "\n" + httpDHCP
	r.site = siteOn(t, n)
	if err := disk.Make(t.Context(), r.root(), r.image, nil, free); err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: &r.boots}
	go server.Serve(r.lab.Listen("tcp", bootServer+":80"))
	t.Cleanup(func() { server.Close() })

	r.config = firmware(t)
	r.config.UEFI, r.config.TPM, r.config.CA, r.config.MemoryMiB = true, vm.CRB, r.Vendor, 1024
	r.config.Dir = t.TempDir()
	r.config.Disks = []vm.Disk{{Path: r.image}}
	return r
}

func (r *rackMachine) root() toolroot.Root { return testRoot(r.t) }

func testRoot(t testing.TB) toolroot.Root {
	return toolroot.Root{Marker: vmtest.File(t, "TEST_ROOT")}
}

// publish has the boot server serve a variant of the system, which is signed where firmware starts nothing else. Its
// console says which one it is.
func (r *rackMachine) publish(variant string, words ...string) {
	r.t.Helper()
	line := append([]string{
		"console=ttyS0 no_timer_check retain_initrd", "variant=" + variant, shellAndSite,
		"ember.attest_pin=" + r.Pin.String(), "ember.overlay_key=" + r.Signer,
		"ember.lkg=on ember.lkg_url=http://" + bootServer + "/" + ukiName, "ember.lkg_limits=" + lkgLimits,
	}, words...)
	program, err := bootserver.Build(toolroot.Root{Marker: vmtest.File(r.t, "BOOT_ROOT")}, vmtest.File(r.t, "KERNEL"), vmtest.File(r.t, "INITRD"),
		strings.Join(line, " "))
	r.must(err)
	if r.config.SecureBoot != nil {
		program = signedForSecureBoot(r.t, program)
	}
	r.boots.Publish(program)
}

// signedForSecureBoot signs a program as the build does, with the key whose certificate is SECURE_BOOT_CERTIFICATE.
func signedForSecureBoot(t testing.TB, program []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	for name, b := range map[string][]byte{
		"program": program, "key": readFile(t, vmtest.File(t, "SECURE_BOOT_KEY")), "certificate": readFile(t, vmtest.File(t, "SECURE_BOOT_CERTIFICATE")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sign, err := toolroot.Root{Marker: vmtest.File(t, "BOOT_ROOT")}.Command(t.Context(), toolroot.Options{
		Binds: []toolroot.Bind{{Src: dir, Dst: "/signing", Write: true}}, Dir: "/signing", NoNet: true,
	}, "bash", "-euc", string(readFile(t, vmtest.File(t, "UKI_SIGN"))), "bash", "program", "key", "certificate", "signed")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := sign.CombinedOutput(); err != nil {
		t.Fatalf("signing: %v\n%s", err, out)
	}
	return readFile(t, filepath.Join(dir, "signed"))
}

// boot starts the machine; its firmware tries the network first, if it is told to.
func (r *rackMachine) boot(netboot bool) *vmtest.Machine {
	r.t.Helper()
	c := r.config
	card := card(r.lab, "boot", "01")
	if netboot {
		card.Boot = vm.HTTPBoot
	}
	c.NICs = []vm.NIC{card}
	return vmtest.Start(r.t, c)
}

// file is one of the partition, nil if it is not there.
func (r *rackMachine) file(name string) []byte {
	r.t.Helper()
	b, err := fattest.ReadFile(r.partition(), name)
	if !errors.Is(err, fs.ErrNotExist) {
		r.must(err)
	}
	return b
}

// partition is the EFI system partition as it is on the disk.
func (r *rackMachine) partition() []byte {
	r.t.Helper()
	b, err := disk.Partition(r.image)
	r.must(err)
	return b
}

// runs waits for the kernel to say which variant it is.
func runs(m *vmtest.Machine, variant string) {
	m.Line(func(line string) bool {
		return strings.Contains(line, "Kernel command line: ") && strings.Contains(line, " variant="+variant+" ")
	})
}

// reach waits for a phase of the boot.
func reach(m *vmtest.Machine, p machine.Phase) stage.Line {
	line, _ := stage.Parse(m.Line(func(line string) bool {
		l, ok := stage.Parse(line)
		return ok && l.Name == stage.Boot && l.Get("phase") == string(p)
	}))
	return line
}

// must checks fields of a line.
func must(t testing.TB, line stage.Line, fields ...string) {
	t.Helper()
	for _, f := range fields {
		key, want, _ := strings.Cut(f, "=")
		if got := line.Get(key); got != want {
			t.Errorf("%s is %q, want %q: %v", key, got, want, line)
		}
	}
}

// reboots waits for the machine to reboot by itself.
func reboots(t testing.TB, m *vmtest.Machine) {
	t.Helper()
	if end := m.End(); end.Reason != vm.Reboot {
		t.Fatalf("the machine has ended by %+v", end)
	}
}

// configured is an overlay whose service says on the console which one it is.
func configured(name string) []station.File {
	return station.Unit("say.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=echo configured by "+name+"\nStandardOutput=journal+console\n")
}

// ill is an overlay whose service fails.
func ill(name string) []station.File {
	return append(configured(name), station.Unit("ill.service", "[Service]\nExecStart=false\n")...)
}

// keeps boots from the network until everything is kept.
func (r *rackMachine) keeps(variant, configuration string) {
	r.t.Helper()
	m := r.boot(true)
	runs(m, variant)
	must(r.t, reach(m, machine.Netboot), "from=network")
	says(m, "configured by "+configuration)
	must(r.t, reach(m, machine.Kept), "from=network", "why=")
	m.Close()
}

// variables are those of the firmware.
func (r *rackMachine) variables() []ovmf.Variable {
	r.t.Helper()
	image, err := os.ReadFile(filepath.Join(r.config.Dir, firmwareVars))
	if err != nil {
		r.t.Fatal(err)
	}
	variables, err := ovmf.Read(image)
	if err != nil {
		r.t.Fatal(err)
	}
	return variables
}

func (r *rackMachine) setVariables(variables []ovmf.Variable) {
	r.t.Helper()
	path := filepath.Join(r.config.Dir, firmwareVars)
	image, err := os.ReadFile(path)
	if err == nil {
		image, err = ovmf.Write(image, variables)
	}
	if err == nil {
		err = os.WriteFile(path, image, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
