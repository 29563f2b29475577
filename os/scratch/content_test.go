package scratch

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

const testUUID = "7d1f9b1c-6b1a-4c0e-9a55-0123456789ab"

// extDisk is the beginning of what mke2fs 1.47.0 makes with the options of format
// and testUUID, with a name of the same length.
func extDisk(t testing.TB, label string) []byte {
	t.Helper()
	super, err := os.ReadFile("testdata/superblock")
	if err != nil {
		t.Fatal(err)
	}
	return append(make([]byte, superblock), bytes.Replace(super, []byte(Label), []byte(label), 1)...)
}

// at is a disk with something at an offset from its beginning, or from its end if
// that is negative.
func at(size, offset int, what string) []byte {
	disk := make([]byte, size)
	if offset < 0 {
		offset += size
	}
	copy(disk[offset:], what)
	return disk
}

func TestIdentify(t *testing.T) {
	const size = 3 * ends
	for _, tt := range []struct {
		name string
		disk []byte
		want string
		mine bool
	}{
		{"blank", make([]byte, size), "nothing", false},
		{"erased flash", bytes.Repeat([]byte{0xff}, size), "nothing", false},
		{"one sector", make([]byte, 512), "nothing", false},
		{"ours", extDisk(t, Label), `an ext filesystem called "ember-scratch"`, true},
		{"not ours", extDisk(t, "ember-scratcH"), `an ext filesystem called "ember-scratcH"`, false},
		{"hostile name", extDisk(t, "\x1b[2J\nscratch"), `an ext filesystem called "\x1b[2J\nscratch"`, false},
		{"a longer name", extDisk(t, Label+"es"), `an ext filesystem called "ember-scratches"`, false},
		{"GPT over ours", append(extDisk(t, Label)[:512], append([]byte("EFI PART"), extDisk(t, Label)[520:]...)...), "a partition table", false},
		{"boot sector in ours", append(append(at(512, 510, "\x55\xaa"), make([]byte, 512)...), extDisk(t, Label)[1024:]...), `an ext filesystem called "ember-scratch"`, true},
		{"MBR", at(size, 510, "\x55\xaa"), "a partition table", false},
		{"4096-byte sectors", at(size, 4096, "EFI PART"), "a partition table", false},
		{"LUKS", at(size, 0, "LUKS\xba\xbe\x00\x02"), "an encrypted volume (LUKS)", false},
		{"LVM", at(size, 512, "LABELONE"), "a part of a volume group (LVM)", false},
		{"md 1.2", at(size, 4096, "\xfc\x4e\x2b\xa9"), "a part of a RAID (md)", false},
		{"XFS", at(size, 0, "XFSB"), "an XFS filesystem", false},
		{"btrfs", at(size, 65536+64, "_BHRfS_M"), "a btrfs filesystem", false},
		{"swap", at(size, 4086, "SWAPSPACE2"), "swap space", false},
		{"ISO", at(size, 32769, "CD001"), "an ISO image", false},
		{"one byte in front", at(size, ends-1, "\x01"), "something that is not known", false},
		{"one byte at the end", at(size, -ends, "\x01"), "something that is not known", false},
		{"last byte", at(size, -1, "\x01"), "something that is not known", false},
		{"a small disk's last byte", at(513, -1, "\x01"), "something that is not known", false},
		{"cut short", extDisk(t, Label)[:superblock+0x40], "an ext filesystem", false},
	} {
		c, err := identify(bytes.NewReader(tt.disk))
		if err != nil || c.String() != tt.want || c.mine() != tt.mine {
			t.Errorf("%s: %q, %v, %v; want %q, %v", tt.name, c, c.mine(), err, tt.want, tt.mine)
		}
	}
	if c, err := identify(bytes.NewReader(nil)); err == nil {
		t.Errorf("a drive without a medium: %q", c)
	}
	if c := parse(extDisk(t, Label)); c.uuid != testUUID {
		t.Errorf("UUID %s", c.uuid)
	}
}

// FuzzIdentify: what is not blank is never taken for blank, and nothing is ours
// without the mark.
func FuzzIdentify(f *testing.F) {
	f.Add([]byte{0})
	f.Add(extDisk(f, Label))
	f.Add(at(5000, 4096, "EFI PART"))
	f.Fuzz(func(t *testing.T, disk []byte) {
		c, err := identify(bytes.NewReader(disk))
		if err != nil {
			if len(disk) > 0 {
				t.Error(err)
			}
			return
		}
		blank := len(bytes.Trim(disk, "\x00")) == 0 || bytes.Count(disk, []byte{0xff}) == len(disk)
		if (c.kind == "") != blank {
			t.Errorf("%q, blank %v", c, blank)
		}
		if c.mine() && !bytes.Contains(disk, []byte(Label)) {
			t.Error("ours without the mark")
		}
		if strings.ContainsAny(c.String(), "\x00\n\x1b") || len(c.label) > 16 {
			t.Errorf("%q can not be shown", c)
		}
	})
}
