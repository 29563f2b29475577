package efiboot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ember-os/ember/os/nstest"
	"golang.org/x/sys/unix"
)

const partUUID = "11111111-2222-3333-4455-666666666666"

var (
	partition = Partition{Number: 1, Start: 2048, Blocks: 0x3f000, GUID: parseGUID(partUUID)}
	slotA     = Entry{"Ember A", "EFI/BOOT/BOOTX64.EFI"}
	slotB     = Entry{"Ember B", "EFI/EMBERB/BOOT.EFI"}
)

// golden is the entry of slot B, by UEFI 2.10, sections 3.1.3 and 10.3.5.
const golden = `01000000 5c00 45006d00620065007200200042000000
	0401 2a00 01000000 0008000000000000 00f0030000000000 11111111222233334455666666666666 02 02
	0404 2e00 5c004500460049005c0045004d0042004500520042005c0042004f004f0054002e004500460049000000
	7fff 0400`

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGolden(t *testing.T) {
	want := unhex(t, golden)
	o := option{active: true, description: slotB.Title, path: fileOn(partition, slotB.File)}
	if got := o.encode(); !bytes.Equal(got, want) {
		t.Errorf("got\n%x\nwant\n%x", got, want)
	}
	got, err := decodeOption(append(slices.Clone(want), "data"...))
	if o.data = []byte("data"); err != nil || !reflect.DeepEqual(got, o) {
		t.Errorf("got %+v, %v", got, err)
	}
	if k := follow(got.path); k != (kind{partition: partition.GUID, file: slotB.File}) {
		t.Errorf("it leads to %+v", k)
	}
	for i := range len(want) {
		if _, err := decodeOption(want[:i]); err == nil {
			t.Errorf("%d bytes are an entry", i)
		}
	}
}

func FuzzDecodeOption(f *testing.F) {
	f.Add(unhex(f, golden))
	f.Add([]byte{1, 0, 0, 0, 4, 0, 0, 0, 3, 11, 4, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOption(b)
		if err != nil {
			return
		}
		follow(o.path)
		again, err := decodeOption(o.encode())
		if err != nil || again.active != o.active || !bytes.Equal(again.path, o.path) || !bytes.Equal(again.data, o.data) {
			t.Errorf("%+v came back as %+v, %v", o, again, err)
		}
	})
}

func TestGUID(t *testing.T) {
	if got := parseGUID(strings.ToUpper(partUUID)); got.String() != partUUID {
		t.Errorf("%v", got)
	}
	for _, s := range []string{"", "x", partUUID[1:], partUUID[:35]} {
		if got := parseGUID(s); got != (GUID{}) {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// firmware is a directory of variables.
type firmware struct {
	Variables
	t *testing.T
}

func newFirmware(t *testing.T) firmware { return firmware{Variables{t.TempDir()}, t} }

func (f firmware) set(name, vendor string, value []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name, vendor), append([]byte(attributes), value...), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f firmware) numbers(name string, n ...uint16) {
	f.t.Helper()
	var b []byte
	for _, n := range n {
		b = binary.LittleEndian.AppendUint16(b, n)
	}
	f.set(name, global, b)
}

// pxe and usb are paths of devices as firmware makes them.
var (
	pxe = slices.Concat(node(2, 1, make([]byte, 8)), node(messaging, macAddress, make([]byte, 33)), node(messaging, ipv4, make([]byte, 23)), node(end, 0xff, nil))
	usb = slices.Concat(node(2, 1, make([]byte, 8)), node(messaging, 5, make([]byte, 2)), node(end, 0xff, nil))
)

func (f firmware) add(number uint16, title string, path []byte) {
	f.set(entryName(number), global, option{active: true, description: title, path: path}.encode())
}

// titles is the order.
func (f firmware) titles() string {
	f.t.Helper()
	order, err := f.order()
	if err != nil {
		f.t.Fatal(err)
	}
	var titles []string
	for _, n := range order {
		o, err := f.entry(n)
		if err != nil {
			f.t.Error(err)
		}
		titles = append(titles, o.description)
	}
	return strings.Join(titles, ", ")
}

func TestUpdate(t *testing.T) {
	for _, tt := range []struct {
		name        string
		make        func(f firmware)
		fromNetwork bool
		want        string
	}{
		{"nothing", func(firmware) {}, true, "Ember A, Ember B"},
		{"others in front", func(f firmware) {
			f.add(0, "UiApp", usb)
			f.add(1, "Other OS", fileOn(partition, "EFI/OTHER.EFI"))
			f.add(2, "PXE", pxe)
			f.numbers("BootOrder", 0, 1, 2)
			f.numbers("BootCurrent", 2)
		}, true, "PXE, Ember A, Ember B, UiApp, Other OS"},
		{"two networks, the second was booted", func(f firmware) {
			f.add(0, "PXE 4", pxe)
			f.add(1, "PXE 6", pxe)
			f.numbers("BootOrder", 0, 1)
			f.numbers("BootCurrent", 1)
		}, true, "PXE 6, Ember A, Ember B, PXE 4"},
		{"iPXE on a stick", func(f firmware) {
			f.add(0, "PXE", pxe)
			f.add(1, "stick", usb)
			f.numbers("BootOrder", 0, 1)
			f.numbers("BootCurrent", 1)
		}, true, "stick, Ember A, Ember B, PXE"},
		{"from the disk", func(f firmware) {
			f.add(0, "disk", usb)
			f.add(1, "PXE", pxe)
			f.numbers("BootOrder", 0, 1)
			f.numbers("BootCurrent", 0)
		}, false, "PXE, Ember A, Ember B, disk"},
		{"from the disk, without a network", func(f firmware) {
			f.add(0, "disk", usb)
			f.numbers("BootOrder", 0)
			f.numbers("BootCurrent", 0)
		}, false, "Ember A, Ember B, disk"},
		{"the stick stays", func(f firmware) {
			f.add(0, "stick", usb)
			f.add(1, "Ember B", fileOn(partition, slotB.File))
			f.add(2, "Ember A", fileOn(partition, slotA.File))
			f.numbers("BootOrder", 0, 1, 2)
			f.numbers("BootCurrent", 1)
		}, false, "stick, Ember A, Ember B"},
		{"BootOrder reset", func(f firmware) {
			f.add(0, "PXE", pxe)
			f.add(7, "Ember A", fileOn(partition, slotA.File))
			f.add(8, "Ember B", fileOn(partition, slotB.File))
		}, false, "PXE, Ember A, Ember B"},
		{"a network that is switched off", func(f firmware) {
			f.set(entryName(0), global, option{description: "PXE", path: pxe}.encode())
			f.numbers("BootOrder", 0)
		}, false, "Ember A, Ember B, PXE"},
		{"an entry that is none", func(f firmware) {
			f.set(entryName(0), global, []byte("?"))
			f.add(1, "PXE", pxe)
			f.numbers("BootOrder", 1)
		}, false, "PXE, Ember A, Ember B"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFirmware(t)
			tt.make(f)
			if err := f.Update(partition, tt.fromNetwork, slotA, slotB); err != nil {
				t.Fatal(err)
			}
			if got := f.titles(); got != tt.want {
				t.Errorf("order %s, want %s", got, tt.want)
			}
			before := f.files()
			if err := f.Update(partition, tt.fromNetwork, slotA, slotB); err != nil || !reflect.DeepEqual(f.files(), before) {
				t.Errorf("done again, it changes: %v", err)
			}
			if got := f.Preferred(slotB.Title, slotA.Title); got != slotA.Title {
				t.Errorf("the first one is %q", got)
			}
		})
	}
}

// files are the times at which each variable was written.
func (f firmware) files() map[string]string {
	f.t.Helper()
	entries, err := os.ReadDir(f.Dir)
	if err != nil {
		f.t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			f.t.Fatal(err)
		}
		all[e.Name()] = fmt.Sprint(info.ModTime(), info.Size())
	}
	return all
}

// TestSwitch changes the good slot, and the partition.
func TestSwitch(t *testing.T) {
	f := newFirmware(t)
	f.add(0, "PXE", pxe)
	f.numbers("BootOrder", 0)
	if err := errors.Join(f.Update(partition, false, slotA, slotB), f.Update(partition, false, slotB, slotA)); err != nil {
		t.Fatal(err)
	}
	if got := f.titles(); got != "PXE, Ember B, Ember A" {
		t.Error(got)
	}
	moved := partition
	moved.GUID[0]++
	if err := f.Update(moved, false, Entry{"Ember A", "EFI/EMBERA/BOOT.EFI"}, slotB); err != nil {
		t.Fatal(err)
	}
	if o, err := f.entry(1); err != nil || follow(o.path) != (kind{partition: moved.GUID, file: "EFI/EMBERA/BOOT.EFI"}) {
		t.Errorf("%+v, %v", o, err)
	}
	if len(f.files()) != 4 {
		t.Errorf("variables %v", f.files())
	}
}

func TestNext(t *testing.T) {
	f := newFirmware(t)
	if err := f.Next("Ember A"); !errors.Is(err, fs.ErrNotExist) || f.Pending() {
		t.Error(err)
	}
	if err := errors.Join(f.Update(partition, false, slotA, slotB), f.Next("Ember B")); err != nil {
		t.Fatal(err)
	}
	if n, err := f.number("BootNext"); n != 1 || err != nil || !f.Pending() {
		t.Errorf("%d, %v", n, err)
	}
	if got := f.Partition("Ember C", "Ember A"); got != partition.GUID {
		t.Errorf("it is on %v", got)
	}
	if got := f.Partition("Ember C"); got != (GUID{}) {
		t.Errorf("what is not there is on %v", got)
	}
}

func TestCurrent(t *testing.T) {
	f := newFirmware(t)
	if b, err := f.Current(); b != (Boot{}) || err != nil {
		t.Errorf("of a firmware that says nothing: %+v, %v", b, err)
	}
	f.numbers("BootCurrent", 3)
	if b, err := f.Current(); b != (Boot{}) || err != nil {
		t.Errorf("of an entry that has gone: %+v, %v", b, err)
	}
	f.add(3, "PXE", pxe)
	if b, err := f.Current(); b != (Boot{Network: true, Title: "PXE"}) || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.add(3, "Ember B", fileOn(partition, slotB.File))
	if b, err := f.Current(); b != (Boot{Title: "Ember B", Partition: partition.GUID, File: slotB.File}) || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.add(3, "disk", usb)
	f.set("LoaderDevicePartUUID", loader, ucs2(strings.ToUpper(partUUID)))
	if b, err := f.Current(); b != (Boot{Title: "disk", Partition: partition.GUID}) || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.set("LoaderImageIdentifier", loader, ucs2(`\EFI\EMBERB\BOOT.EFI`))
	fromSlot := Boot{Title: "disk", Partition: partition.GUID, File: slotB.File, Stub: true}
	if b, err := f.Current(); b != fromSlot || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.set("StubImageIdentifier", loader, ucs2(`\uki.efi`)) // from the network
	if b, err := f.Current(); b != (Boot{Title: "disk"}) || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.set("StubDevicePartUUID", loader, ucs2(partUUID))
	f.set("StubImageIdentifier", loader, ucs2(`\EFI\EMBERB\BOOT.EFI`))
	f.set("LoaderImageIdentifier", loader, ucs2(`\EFI\BOOT\BOOTX64.EFI`))
	if b, err := f.Current(); b != fromSlot || err != nil {
		t.Errorf("%+v, %v", b, err)
	}
	f.set("BootCurrent", global, []byte{1})
	if _, err := f.Current(); err == nil {
		t.Error("one byte is a number")
	}
}

func TestNoVariables(t *testing.T) {
	v := Variables{filepath.Join(t.TempDir(), "none")}
	if _, err := v.Current(); !errors.Is(err, ErrNoVariables) {
		t.Error(err)
	}
	if err := v.Update(partition, true, slotA); !errors.Is(err, ErrNoVariables) {
		t.Error(err)
	}
}

// TestRefused has variables that can not be written. /dev/full gives ENOSPC as a firmware without room does.
func TestRefused(t *testing.T) {
	f := newFirmware(t)
	f.add(0, "PXE", pxe)
	f.numbers("BootOrder", 0)
	if err := os.Symlink("/dev/full", f.path("Boot0001", global)); err != nil {
		t.Fatal(err)
	}
	err := f.write("Boot0001", []byte("x"))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "no room") {
		t.Errorf("full: %v", err)
	}
	if got := f.titles(); got != "PXE" {
		t.Errorf("the order has become %s", got)
	}
	if err := os.Symlink("/proc/self/nothing", f.path("Boot0002", global)); err != nil {
		t.Fatal(err)
	}
	if err := f.write("Boot0002", []byte("x")); err == nil {
		t.Error("written to nowhere")
	}
}

func TestReadOnly(t *testing.T) {
	if !nstest.Inside(t, syscall.CLONE_NEWNS) {
		return
	}
	f := newFirmware(t)
	if err := unix.Mount("tmpfs", f.Dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(f.Dir, unix.MNT_DETACH)
	f.add(0, "PXE", pxe)
	f.numbers("BootOrder", 0)
	if err := unix.Mount("", f.Dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := f.Update(partition, true, slotA); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "only be read") {
		t.Error(err)
	}
}
