// Package trust makes the bundle of certificates that every program of the image
// trusts: the image's own authorities and those of the machine's owner.
//
// Authorities are only ever added. A file of the owner's counts as a whole or not
// at all: one that holds anything but certificates is reported and left out, and
// the rest is used.
package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/ember-os/ember/os/cli"
	"github.com/ember-os/ember/os/logline"
	"github.com/google/renameio/v2"
)

// Where things are.
const (
	Base   = "/usr/share/ca-certificates/ember.crt" // the image's authorities
	Added  = "/etc/ssl/ember.d"                     // the owner's: *.pem, *.crt and *.cer
	Bundle = "/etc/ssl/certs/ca-certificates.crt"   // what is trusted; /etc/ssl/cert.pem leads to it
)

const usage = `usage: ember trust

Makes ` + Bundle + ` of the image's
certificate authorities and those in ` + Added + `.
`

// Main is the program.
func Main(args []string) int {
	return cli.Run("ember trust", usage, args, cli.Command{Run: func(_ context.Context, args []string) error {
		if err := cli.NoArguments(args); err != nil {
			return err
		}
		return update(logline.New(os.Stderr, slog.LevelInfo), Base, Added, Bundle)
	}})
}

// update writes the bundle if it changes. An error means that the bundle is not
// what it should be; what is merely left out is logged.
func update(log *slog.Logger, base, added, bundle string) error {
	var all collection
	text, err := os.ReadFile(base)
	if err == nil {
		err = all.addBase(text)
	}
	if err != nil {
		log.Error("the image's own authorities are not trusted", "file", base, "err", err)
	}
	ours := all.count
	for _, path := range files(log, added) {
		if err := all.addFile(path); err != nil {
			log.Warn("not trusting a file", "file", path, "err", err)
		}
	}
	if all.count == 0 {
		return errors.New("there is no authority to trust; the bundle stays as it is")
	}
	if old, err := os.ReadFile(bundle); err == nil && bytes.Equal(old, all.pem.Bytes()) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(bundle), 0o755); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	if err := renameio.WriteFile(bundle, all.pem.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the bundle: %w", err)
	}
	log.Info("certificate authorities", "of_image", ours, "added", all.count-ours)
	return nil
}

// files gives the files of a folder that should hold certificates, in the order of
// their names. Without the folder there are none.
func files(log *slog.Logger, dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("not trusting a folder", "folder", dir, "err", err)
	}
	var paths []string
	for _, e := range entries {
		switch path := filepath.Join(dir, e.Name()); filepath.Ext(e.Name()) {
		case ".pem", ".crt", ".cer":
			paths = append(paths, path)
		default:
			log.Warn("not trusting a file", "file", path, "err", "its name does not end with .pem, .crt or .cer")
		}
	}
	return paths
}
