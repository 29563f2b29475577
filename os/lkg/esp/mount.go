package esp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// options of vfat: only root may read what is there, the configuration among it, and a filesystem that turns out to
// be damaged is not written to any more.
const options = "umask=0077,iocharset=ascii,errors=remount-ro"

// Mount mounts a partition. The error is an ErrReadOnly or ErrNoFAT if it is not fit.
func Mount(root string, p Partition, target string) error {
	device := filepath.Join(root, "dev", p.Name)
	if err := check(root, p.Name, device); err != nil {
		return fmt.Errorf("EFI system partition /dev/%s is not used and was not changed: %w", p.Name, err)
	}
	err := os.MkdirAll(target, 0o700)
	if err == nil {
		err = unix.Mount(device, target, "vfat", unix.MS_NOATIME|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options)
	}
	if err != nil {
		return fmt.Errorf("mounting EFI system partition /dev/%s: %w", p.Name, err)
	}
	return nil
}

// Unmount has the disk keep everything, and unmounts.
func Unmount(target string) error {
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmounting the EFI system partition: %w", err)
	}
	return nil
}

func check(root, name, device string) error {
	if ro, err := os.ReadFile(filepath.Join(root, "sys/class/block", name, "ro")); err == nil && strings.TrimSpace(string(ro)) == "1" {
		return ErrReadOnly
	}
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	defer f.Close()
	var sector [512]byte
	if _, err := io.ReadFull(f, sector[:]); errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		return ErrNoFAT
	} else if err != nil {
		return err
	}
	if !isFAT(sector) {
		return ErrNoFAT
	}
	return nil
}

// isFAT tells whether a boot sector is that of a FAT filesystem, by the fields that Linux looks at: Microsoft FAT
// Specification 1.03, section 3.
func isFAT(b [512]byte) bool {
	le := binary.LittleEndian
	sector, cluster := le.Uint16(b[11:]), b[13]
	small, large := le.Uint16(b[19:]), le.Uint32(b[32:])
	return b[510] == 0x55 && b[511] == 0xaa &&
		bits.OnesCount16(sector) == 1 && sector >= 512 && sector <= 4096 &&
		bits.OnesCount8(cluster) == 1 &&
		le.Uint16(b[14:]) > 0 && // reserved sectors
		(b[16] == 1 || b[16] == 2) && // FATs
		(b[21] == 0xf0 || b[21] >= 0xf8) && // medium
		(le.Uint16(b[22:]) > 0 || le.Uint32(b[36:]) > 0) && // sectors of a FAT
		(small > 0 || large > 0)
}
