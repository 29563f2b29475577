package esp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ember-os/ember/os/lkg/efiboot"
	"github.com/ember-os/ember/os/lkg/fattest"
)

const diskBlocks = 200

var dataPartition = efiboot.GUID{1, 2, 3}

type part struct {
	kind efiboot.GUID
	guid byte
	name string
}

// gpt is a disk with both copies of a table.
func gpt(block int, parts ...part) []byte {
	le := binary.LittleEndian
	disk := make([]byte, diskBlocks*block)
	entries := make([]byte, 128*128)
	for i, p := range parts {
		e := entries[128*i:]
		copy(e, p.kind[:])
		copy(e[16:], bytes.Repeat([]byte{p.guid}, 16))
		le.PutUint64(e[32:], uint64(60+10*i))
		le.PutUint64(e[40:], uint64(69+10*i))
		for j, u := range utf16.Encode([]rune(p.name)) {
			le.PutUint16(e[56+2*j:], u)
		}
	}
	blocks := len(entries) / block
	for _, at := range [][2]int{{1, 2}, {diskBlocks - 1, diskBlocks - 1 - blocks}} {
		h := disk[at[0]*block:]
		copy(h, "EFI PART\x00\x00\x01\x00")
		le.PutUint32(h[12:], headerSize)
		le.PutUint64(h[24:], uint64(at[0]))
		le.PutUint64(h[32:], uint64(diskBlocks-at[0]))
		le.PutUint64(h[72:], uint64(at[1]))
		le.PutUint32(h[80:], 128)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:headerSize]))
		copy(disk[at[1]*block:], entries)
	}
	return disk
}

func TestTable(t *testing.T) {
	for _, block := range []int{512, 4096} {
		disk := gpt(block, part{dataPartition, 7, "root"}, part{systemPartition, 8, "EFI Süstem"})
		want := table{
			{efiboot.Partition{Number: 1, Start: 60, Blocks: 10, GUID: efiboot.GUID(bytes.Repeat([]byte{7}, 16))}, dataPartition, "root"},
			{efiboot.Partition{Number: 2, Start: 70, Blocks: 10, GUID: efiboot.GUID(bytes.Repeat([]byte{8}, 16))}, systemPartition, "EFI Süstem"},
		}
		read := func() (table, error) { return readTable(bytes.NewReader(disk), int64(len(disk)), int64(block)) }
		if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		disk[block+30]++ // the first copy's header
		if got, err := read(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("from the end: %+v, %v", got, err)
		}
		disk[(diskBlocks-2)*block]++ // the second one's entries
		if got, err := read(); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("both damaged: %+v, %v", got, err)
		}
	}
	if _, err := readTable(bytes.NewReader(make([]byte, 1<<16)), 1<<16, 512); err != errNoTable {
		t.Error(err)
	}
	if systemPartition.String() != "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" {
		t.Error(systemPartition)
	}
}

func FuzzTable(f *testing.F) {
	f.Add(gpt(512, part{systemPartition, 1, "x"})[512:], true)
	f.Add(gpt(512)[512:1024], false)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		disk := append(make([]byte, 512), b...)
		if repair && len(disk) >= 1024 { // so that what is behind the checksum is reached
			h := disk[512:1024]
			clear(h[16:20])
			binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h[:min(binary.LittleEndian.Uint32(h[12:]), 512)]))
		}
		parts, err := readTable(bytes.NewReader(disk), int64(len(disk)), 512)
		if err == nil && len(parts) > maxTableSize/minEntry {
			t.Errorf("%d partitions", len(parts))
		}
	})
}

// machine is a tree of dev and sys.
type machine struct {
	t    *testing.T
	root string
}

func (m machine) write(path string, text []byte) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) disk(name string, removable int, data []byte, parts int) {
	blocks := "sys/block/" + name
	m.write(blocks+"/size", fmt.Appendf(nil, "%d\n", len(data)/512))
	m.write(blocks+"/removable", fmt.Appendf(nil, "%d\n", removable))
	m.write(blocks+"/queue/logical_block_size", []byte("512\n"))
	for i := range parts {
		m.write(fmt.Sprintf("%s/%s%d/partition", blocks, name, i+1), fmt.Appendf(nil, "%d\n", i+1))
	}
	m.write("dev/"+name, data)
}

func TestFind(t *testing.T) {
	guid := func(c byte) efiboot.GUID { return efiboot.GUID(bytes.Repeat([]byte{c}, 16)) }
	one := func(m machine) {
		m.disk("sda", 0, gpt(512, part{dataPartition, 1, Label}, part{systemPartition, 2, ""}), 2)
	}
	for _, tt := range []struct {
		name  string
		disks []func(machine)
		hints []efiboot.GUID
		want  string
		err   string
	}{
		{"no disk", nil, nil, "", "no disk has an EFI system partition"},
		{"none", []func(machine){func(m machine) { m.disk("sda", 0, gpt(512, part{dataPartition, 1, ""}), 1) }}, nil, "", "no disk has"},
		{"no table", []func(machine){func(m machine) { m.disk("sda", 0, make([]byte, 1<<16), 0) }}, nil, "", "no disk has"},
		{"damaged", []func(machine){func(m machine) {
			d := gpt(512, part{systemPartition, 1, ""})
			d[512+20], d[len(d)-512+20] = 1, 1
			m.disk("sda", 0, d, 1)
		}}, nil, "", "/dev/sda: reading the partition table: it is damaged"},
		{"one", []func(machine){one}, nil, "sda2", ""},
		{"one, and a stick", []func(machine){one, func(m machine) { m.disk("sdb", 1, gpt(512, part{systemPartition, 3, Label}), 1) }}, []efiboot.GUID{guid(3)}, "sda2", ""},
		{"booted from another", []func(machine){one}, []efiboot.GUID{{}, guid(9)}, "sda2", ""},
		{"several", []func(machine){one, func(m machine) { m.disk("sdb", 0, gpt(512, part{systemPartition, 3, "EFI"}), 1) }}, nil, "", "several EFI system partitions (/dev/sda2, /dev/sdb1)"},
		{"several, booted from", []func(machine){one, func(m machine) { m.disk("sdb", 0, gpt(512, part{systemPartition, 3, Label}), 1) }}, []efiboot.GUID{guid(9), guid(2)}, "sda2", ""},
		{"several, label", []func(machine){one, func(m machine) { m.disk("sdb", 0, gpt(512, part{systemPartition, 3, Label}), 1) }}, nil, "sdb1", ""},
		{"several, label twice", []func(machine){
			func(m machine) { m.disk("sda", 0, gpt(512, part{systemPartition, 2, Label}), 1) },
			func(m machine) { m.disk("sdb", 0, gpt(512, part{systemPartition, 3, Label}), 1) },
		}, nil, "", "several"},
		{"not in the kernel", []func(machine){func(m machine) { m.disk("sda", 0, gpt(512, part{systemPartition, 2, ""}), 0) }}, nil, "", "no disk has"},
	} {
		m := machine{t, t.TempDir()}
		for _, d := range tt.disks {
			d(m)
		}
		p, err := Find(m.root, tt.hints...)
		if p.Name != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %v", tt.name, p, err)
		}
		if (tt.err == "no disk has") && !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestMountRefuses(t *testing.T) {
	m := machine{t, t.TempDir()}
	p := Partition{Name: "sda1"}
	target := filepath.Join(m.root, "target")
	for _, data := range [][]byte{nil, make([]byte, 100), make([]byte, 4096)} {
		m.write("dev/sda1", data)
		if err := Mount(m.root, p, target); !errors.Is(err, ErrNoFAT) {
			t.Errorf("%d zeros: %v", len(data), err)
		}
	}
	m.write("dev/sda1", fattest.New(4085).Image())
	m.write("sys/class/block/sda1/ro", []byte("1\n"))
	if err := Mount(m.root, p, target); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	m.write("sys/class/block/sda1/ro", []byte("0\n"))
	if err := Mount(m.root, p, target); err == nil || !strings.HasPrefix(err.Error(), "mounting EFI system partition /dev/sda1") {
		t.Errorf("a file is not a device: %v", err)
	}
	if err := Mount(m.root, Partition{Name: "sdb1"}, target); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if Unmount(target) == nil {
		t.Error("what is not mounted was unmounted")
	}
}

func FuzzIsFAT(f *testing.F) {
	f.Add(fattest.New(4085).Image()[:512])
	f.Add(make([]byte, 512))
	f.Fuzz(func(t *testing.T, b []byte) {
		var sector [512]byte
		copy(sector[:], b)
		if isFAT(sector) && (sector[510] != 0x55 || sector[13] == 0) {
			t.Errorf("%x is FAT", sector)
		}
	})
}
