// Package scratch takes a disk for data that nobody will miss: it finds the one that
// is named, makes sure that there is nothing to lose on it, and mounts a new
// filesystem that it makes on it.
//
// A disk or partition is taken if it is blank, or if it was taken before, which its
// filesystem's name Label says. Everything else is refused, with the reason, and is
// not written to. What an earlier boot left is not used again: it could have been
// changed while nobody measured what runs, and containers that no longer exist are
// better forgotten. Not for PID 1.
package scratch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/ember-os/ember/os/cmdline"
	"golang.org/x/sys/unix"
)

// Label is the name of the filesystem, which marks a disk as ours to erase.
const Label = "ember-scratch"

const (
	mkfs       = "/usr/sbin/mkfs.ext4"
	appearTime = 30 * time.Second // RAID controllers take their time
	lookEvery  = 250 * time.Millisecond
	formatTime = 5 * time.Minute
)

// system is what tests replace.
type system struct {
	root   string // of dev and sys
	mkfs   string // the program
	appear time.Duration
	mount  func(device, target string) error
}

// Mount waits for the disk, erases it and mounts it at target. An error means that
// it could not be used, and says what to do about it if that is not clear.
func Mount(ctx context.Context, log *slog.Logger, disk cmdline.Disk, target string) error {
	s := system{root: "/", mkfs: mkfs, appear: appearTime, mount: mount}
	return s.take(ctx, log, disk, target)
}

func (s system) take(ctx context.Context, log *slog.Logger, disk cmdline.Disk, target string) error {
	name, err := s.await(ctx, log, disk)
	if err != nil {
		return err
	}
	device := "/dev/" + name
	found, err := s.look(name)
	if err != nil {
		return fmt.Errorf("%s is not used: %w", device, err)
	}
	if !found.mine() && found.kind != "" {
		return fmt.Errorf("%s is not used and was not changed: it holds %s, and only a disk that is empty (blkdiscard -z or dd makes it so), "+
			"or has an ext4 filesystem called %s, is taken", device, found, Label)
	}
	start := time.Now()
	if err := s.format(ctx, s.path("dev", name), found.uuid); err != nil {
		return fmt.Errorf("making a filesystem on %s: %w", device, err)
	}
	if err := s.mount(s.path("dev", name), target); err != nil {
		return fmt.Errorf("mounting %s: %w", device, err)
	}
	log.Info("using a disk", "disk", device, "at", target, "before", found.String(), "took", time.Since(start).Round(time.Millisecond))
	return nil
}

// look makes sure that nobody uses a disk, and tells what is on it.
func (s system) look(name string) (content, error) {
	if partitions := s.partitions(name); len(partitions) > 0 {
		return content{}, fmt.Errorf("it has partitions, as %s", partitions[0])
	}
	if holders := s.list("sys/class/block", name, "holders"); len(holders) > 0 {
		return content{}, fmt.Errorf("it is a part of %s", holders[0])
	}
	if ro, err := os.ReadFile(s.path("sys/class/block", name, "ro")); err == nil && strings.TrimSpace(string(ro)) == "1" {
		return content{}, errors.New("it can only be read")
	}
	// Of a block device that is mounted, or used in any other way, nobody is the only user.
	f, err := os.OpenFile(s.path("dev", name), os.O_RDONLY|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return content{}, errors.New("it is in use")
	} else if err != nil {
		return content{}, err
	}
	defer f.Close()
	return identify(f)
}

// format makes the filesystem anew. Without a journal, because after a crash nothing
// on it is of use, and with tables that stay unwritten until they are needed.
func (s system) format(ctx context.Context, device, uuid string) error {
	ctx, cancel := context.WithTimeout(ctx, formatTime)
	defer cancel()
	args := []string{"-q", "-F", "-L", Label, "-m", "0", "-O", "^has_journal", "-E", "nodiscard,lazy_itable_init=1"}
	if uuid != "" {
		args = append(args, "-U", uuid)
	}
	out, err := exec.CommandContext(ctx, s.mkfs, append(args, device)...).CombinedOutput()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("the image has no " + mkfs)
	case err != nil && len(bytes.TrimSpace(out)) > 0:
		return fmt.Errorf("%w: %s", err, bytes.ReplaceAll(bytes.TrimSpace(out), []byte("\n"), []byte(" ")))
	}
	return err
}

// mount mounts what format made. The kernel is kept from writing the tables in the
// background: what the next boot erases needs none.
func mount(device, target string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return unix.Mount(device, target, "ext4", unix.MS_NOATIME, "noinit_itable")
}

func (s system) path(name ...string) string {
	return filepath.Join(append([]string{s.root}, name...)...)
}
