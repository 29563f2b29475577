package os_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/os/lkg/esp"
	"github.com/ember-os/ember/os/lkg/fattest"
	"github.com/ember-os/ember/os/lkg/machine"
	"github.com/ember-os/ember/os/lkg/program"
	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/disk"
	"github.com/ember-os/ember/os/vm/vmtest"
)

const lkgWords = "ember.lkg=on ember.lkg_limits=hold:1s"

// TestLKGWithout has machines that can keep nothing, say why, and do their work.
func TestLKGWithout(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(t *testing.T, c *vm.Config)
		why    string
		writes bool // how often it was started, and no more
	}{
		// Nothing has measured what was booted.
		{"NoTPM", func(t *testing.T, c *vm.Config) {}, program.ErrUnmeasured.Error(), true},
		{"BIOS", func(t *testing.T, c *vm.Config) { c.TPM = vm.CRB }, program.ErrUnmeasured.Error(), true},
		{"KernelAndInitrd", func(t *testing.T, c *vm.Config) { c.UEFI, c.TPM = true, vm.CRB }, program.ErrUnmeasured.Error(), true},
		{"IPXE", func(t *testing.T, c *vm.Config) {
			c.UEFI, c.TPM, c.MemoryMiB = true, vm.CRB, 768
			c.Kernel, c.Initrd, c.Net = "", "", vm.NoNet
			c.NICs = bootCard(ipxeLab(t, ipxeWith(t, lkgWords)), vm.PXE)
		}, program.ErrUnmeasured.Error(), true},

		// There is no partition to take.
		{"NoDisk", func(t *testing.T, c *vm.Config) { c.Disks = nil }, esp.ErrNone.Error(), false},
		{"TwoPartitions", func(t *testing.T, c *vm.Config) {
			c.Disks = append(c.Disks, emptyDisk(t))
		}, "several EFI system partitions (/dev/vda1, /dev/vdb1)", false},
		{"ReadOnly", func(t *testing.T, c *vm.Config) { c.Disks[0].ReadOnly = true }, esp.ErrReadOnly.Error(), false},
		{"NoFAT", func(t *testing.T, c *vm.Config) {
			writeAt(t, c.Disks[0].Path, disk.Start, make([]byte, 4096))
		}, esp.ErrNoFAT.Error(), false},
		{"DamagedFAT", func(t *testing.T, c *vm.Config) { loseFolder(t, c.Disks[0].Path) }, "input/output error", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := config(t)
			c.Append = "ember.debug=shell " + lkgWords
			c.Net = vm.UserNet
			c.Disks = []vm.Disk{emptyDisk(t)}
			test.change(t, &c)
			before := data(t, c.Disks)
			m := vmtest.Start(t, c)
			reaches(m, stage.Start)
			line := reach(m, machine.Kept)
			if !strings.Contains(line.Get("why"), test.why) {
				t.Errorf("it says %v, want %q", line, test.why)
			}
			if got := ask(t, m, "ember services | grep -c multi-user.target"); got != "1" {
				t.Errorf("the workload has %s targets", got)
			}
			m.Close()
			if after := data(t, c.Disks); !test.writes && !bytes.Equal(before, after) {
				t.Error("a disk was written")
			}
			if test.writes && hasFile(t, c.Disks[0].Path, slotA) {
				t.Error("there is a program in a slot")
			}
		})
	}
}

// TestLKGAttempts cuts the power of a machine without a TPM: boots are counted on the disk.
func TestLKGAttempts(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Append, c.Net, c.Disks, c.Dir = lkgWords, vm.UserNet, []vm.Disk{emptyDisk(t)}, t.TempDir()
	for _, attempt := range []string{"", "2"} {
		m := vmtest.Start(t, c)
		must(t, reach(m, machine.Netboot), "attempt="+attempt)
		m.Close()
	}
	m := vmtest.Start(t, c)
	must(t, reach(m, machine.Netboot), "attempt=3")
	reach(m, machine.Kept)
	m.Close()
	m = vmtest.Start(t, c)
	must(t, reach(m, machine.Netboot), "attempt=")
}

// hasFile tells whether a disk's partition has a file.
func hasFile(t testing.TB, image, name string) bool {
	t.Helper()
	partition, err := disk.Partition(image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = fattest.ReadFile(partition, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// emptyDisk is a disk with an EFI system partition that has folders and nothing else.
func emptyDisk(t testing.TB) vm.Disk {
	t.Helper()
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk")
	if err := disk.Make(t.Context(), testRoot(t), path, map[string]string{"EFI/OTHER/TEXT": text}, 0); err != nil {
		t.Fatal(err)
	}
	return vm.Disk{Path: path}
}

// loseFolder has the FATs of a disk from emptyDisk say that the first folder's cluster is free: Microsoft FAT
// Specification 1.03, sections 3.3 and 4.
func loseFolder(t testing.TB, path string) {
	t.Helper()
	le := binary.LittleEndian
	boot := readFile(t, path)[disk.Start:][:512]
	reserved, size := int64(le.Uint16(boot[14:]))*512, int64(le.Uint32(boot[36:]))*512
	cluster := int64(le.Uint32(boot[44:])) + 1 // behind the root
	for i := range int64(boot[16]) {
		writeAt(t, path, disk.Start+reserved+i*size+cluster*4, make([]byte, 4))
	}
}

// data is what is on disks, without the sectors in which the kernel notes that a filesystem is in use.
func data(t testing.TB, disks []vm.Disk) (all []byte) {
	t.Helper()
	for _, d := range disks {
		b := readFile(t, d.Path)
		reserved := int(binary.LittleEndian.Uint16(b[disk.Start+14:])) * 512
		all = append(append(all, b[:disk.Start]...), b[disk.Start+reserved:]...)
	}
	return all
}

// ipxeWith is the folder of //os:vm_ipxe with more words on the command line.
func ipxeWith(t testing.TB, words string) string {
	t.Helper()
	from, to := filepath.Dir(vmtest.File(t, "VM_IPXE")), t.TempDir()
	for _, name := range []string{"vmlinuz-x86_64", "initramfs-x86_64"} {
		if err := os.Symlink(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
			t.Fatal(err)
		}
	}
	script := strings.Replace(string(readFile(t, filepath.Join(from, scriptName))), vmCmdline, vmCmdline+" "+words, 1)
	if err := os.WriteFile(filepath.Join(to, scriptName), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
