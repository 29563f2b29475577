package lsblk

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// tree writes files below a directory of its own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestList(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/self/mountinfo": "21 1 0:20 / /proc rw - proc proc rw\n" +
			"22 1 8:2 / /mnt/two\\040words rw,noatime - ext4 /dev/sda2 rw\n" +
			"23 1 254:0 / /run/scratch rw - ext4 /dev/dm-0 rw\n24 1 254:0 /x /var/lib/x rw - ext4 /dev/dm-0 rw\nrubbish",
		"sys/block/sda/dev": "8:0", "sys/block/sda/size": "3907029168", "sys/block/sda/ro": "0", "sys/block/sda/removable": "0",
		"sys/block/sda/sda2/dev": "8:2", "sys/block/sda/sda2/size": "2097152", "sys/block/sda/sda2/ro": "0", "sys/block/sda/sda2/partition": "2",
		"sys/block/sda/sda10/dev": "8:10", "sys/block/sda/sda10/size": "3145728", "sys/block/sda/sda10/ro": "0", "sys/block/sda/sda10/partition": "10",
		"sys/block/sda/sda10/holders/dm-0": "", "sys/block/sda/queue/size": "1",
		"sys/block/dm-0/dev": "254:0", "sys/block/dm-0/size": "3145720", "sys/block/dm-0/ro": "0", "sys/block/dm-0/removable": "0",
		"sys/block/dm-0/dm/uuid": "CRYPT-LUKS2-0123", "sys/block/dm-0/slaves/sda10": "",
		"sys/block/sr0/dev": "11:0", "sys/block/sr0/size": "4", "sys/block/sr0/ro": "1", "sys/block/sr0/removable": "1",
		"sys/block/ram0/dev": "1:0", "sys/block/ram0/size": "8192", "sys/block/loop0/dev": "7:0", "sys/block/loop0/size": "0",
	})
	var out bytes.Buffer
	if err := list(&out, root); err != nil {
		t.Fatal(err)
	}
	const want = `NAME     MAJ:MIN RM SIZE RO TYPE  MOUNTPOINTS
sda        8:0    0 1.8T  0 disk
|-sda2     8:2    0   1G  0 part  /mnt/two words
` + "`-sda10    8:10   0 1.5G  0 part\n  `-dm-0 254:0    0 1.5G  0 crypt /run/scratch\n" + `                                  /var/lib/x
sr0       11:0    1   2K  1 rom
`
	if out.String() != want {
		t.Errorf("printed\n%swant\n%s", &out, want)
	}
}

func TestNoSystem(t *testing.T) {
	if err := list(&bytes.Buffer{}, t.TempDir()); err == nil {
		t.Error("no error without /proc")
	}
}

func TestHuman(t *testing.T) {
	for bytes, want := range map[uint64]string{512: "512B", 1024: "1K", 4 << 20: "4M", 1536 << 20: "1.5G", 1<<64 - 1: "16E"} {
		if got := human(bytes); got != want {
			t.Errorf("%d is %s, want %s", bytes, got, want)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add([]byte("22 1 8:2 / /mnt rw - ext4 /dev/sda2 rw\n"))
	f.Fuzz(func(t *testing.T, info []byte) {
		for number, points := range parseMounts(info) {
			if number == "" || len(points) == 0 {
				t.Errorf("%q is mounted at %q", number, points)
			}
		}
	})
}
