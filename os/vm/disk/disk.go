// Package disk makes disk images that firmware boots from, with the disk tools of the
// test root: a GPT with one EFI system partition, FAT32, and files in it.
package disk

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/ember-os/ember/tools/toolroot"
)

// Start is where the partition begins, in bytes. As much is free behind it, for the second GPT.
const Start = 1 << 20

const (
	least  = 34 << 20 // FAT32 has no smaller ones
	spare  = 4 << 20  // for what FAT needs besides the files
	blocks = 512      // bytes of a sector
)

// script makes the image $1 of $2 bytes, its partition of $3 sectors of 512 bytes from sector $4 on, and $5 KiB
// for mkfs; then come directories, "--", and pairs of a file and its path in the partition.
const script = `
truncate -s "$2" "$1"
printf 'label: gpt\nstart=%s, size=%s, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=ESP\n' "$4" "$3" | sfdisk -q "$1"
mkfs.vfat -F 32 -n ESP --offset "$4" "$1" "$5" >/dev/null
partition=$1@@$(($4 * 512)); shift 5
while [ "$1" != -- ]; do mmd -i "$partition" "::$1"; shift; done; shift
while [ $# -gt 0 ]; do mcopy -i "$partition" "$1" "::$2"; shift 2; done
`

// Make makes an image with files: from their path in the partition, such as
// EFI/BOOT/BOOTX64.EFI, to one on the host. Free is how many bytes more there are room
// for. The image is as large as all that needs, and must not be there before.
func Make(ctx context.Context, root toolroot.Root, image string, files map[string]string, free int64) error {
	if err := makeImage(ctx, root, image, files, free); err != nil {
		return fmt.Errorf("making a disk image: %w", err)
	}
	return nil
}

func makeImage(ctx context.Context, root toolroot.Root, image string, files map[string]string, free int64) error {
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	f.Close()
	options := toolroot.Options{Binds: []toolroot.Bind{{Src: filepath.Dir(image), Dst: "/image", Write: true}}, NoNet: true}
	size := free + spare
	var directories, pairs []string
	for i, name := range slices.Sorted(maps.Keys(files)) {
		info, err := os.Stat(files[name])
		if err != nil {
			return err
		}
		size += info.Size()
		inside := "/file" + strconv.Itoa(i)
		options.Binds = append(options.Binds, toolroot.Bind{Src: files[name], Dst: inside})
		pairs = append(pairs, inside, name)
		for _, dir := range parents(name) {
			if !slices.Contains(directories, dir) {
				directories = append(directories, dir)
			}
		}
	}
	size = max(least, size+Start-1) / Start * Start
	args := []string{"-euc", script, "bash", path.Join("/image", filepath.Base(image)), strconv.FormatInt(size+2*Start, 10),
		strconv.FormatInt(size/blocks, 10), strconv.Itoa(Start / blocks), strconv.FormatInt(size>>10, 10)}
	args = slices.Concat(args, directories, []string{"--"}, pairs)
	cmd, err := root.Command(ctx, options, "bash", args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w\n%s", err, &out)
	}
	return nil
}

// Partition is what is in the partition of an image that Make has made.
func Partition(image string) ([]byte, error) {
	b, err := os.ReadFile(image)
	if err != nil {
		return nil, fmt.Errorf("reading a disk image: %w", err)
	}
	if len(b) < 2*Start {
		return nil, fmt.Errorf("reading a disk image: it has %d bytes, and no partition", len(b))
	}
	return b[Start : len(b)-Start], nil
}

// parents lists the directories above a path, outermost first.
func parents(name string) (dirs []string) {
	for i, r := range name {
		if r == '/' {
			dirs = append(dirs, name[:i])
		}
	}
	return dirs
}
