package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/ember-os/ember/attest/overlay/archive"
	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/overlay/seal"
	"github.com/ember-os/ember/os/lkg/booted"
)

// sealing is what the flags of seal say.
type sealing struct {
	name, key, nodes, expires, kernel, initrd, address, out string
	version                                                 uint64
	recipients                                              []string
}

func (a *app) seal() *cobra.Command {
	var s sealing
	c := &cobra.Command{
		Use:   "seal DIR|TAR --name NAME --key FILE --recipient KEY|FILE",
		Short: "Make an overlay: files for machines, signed and encrypted",
		Long: `Make an overlay of what is in a directory, or in a tar archive ("-" is standard
input). Paths in it are those of a machine, without the first slash. Files of a
directory will be root's; an archive's keep their owners.

The result is a folder NAME with the files manifest and overlay.age, which emberctl
overlay publish sends to a server. It takes the place of an older version at once.`,
		Example: `  emberctl seal tree --name rack --key keys/signing.key --recipient keys/attestd.recipient --expires 90d
  tar -C tree -c . | emberctl seal - --name rack --key keys/signing.key --recipient keys/attestd.recipient`,
		Args: takes("one directory or archive"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case !manifest.IsName(s.name):
				return misuse("--name is missing, or not of a-z, 0-9, \"-\" and \".\"")
			case s.key == "":
				return misuse("--key is missing: the one that signs, which emberctl keygen has made")
			case len(s.recipients) == 0:
				return misuse("--recipient is missing: the attestation server's, which emberctl keygen has made")
			}
			return s.run(cmd.Context(), a.stdout, args[0], time.Now())
		},
	}
	f := c.Flags()
	f.StringVar(&s.name, "name", "", "name of the overlay, of a-z, 0-9, \"-\" and \".\"")
	f.StringVar(&s.key, "key", "", "private key that signs the manifest")
	f.StringArrayVar(&s.recipients, "recipient", nil, "the attestation server's, age1pq1…, or a file of such; may be repeated")
	f.Uint64Var(&s.version, "version", 0, "version (default: one more than that of the folder that is there, or 1)")
	f.StringVar(&s.nodes, "nodes", "", "the machines that it is for, ID,… (default: all)")
	f.StringVar(&s.expires, "expires", "", "30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z (default: never)")
	f.StringVar(&s.kernel, "kernel", "", "machines that run another kernel than this file do not take it")
	f.StringVar(&s.initrd, "initrd", "", "the same for the initrd; machines need UEFI with a TPM, or retain_initrd")
	f.StringVar(&s.address, "url", "", "where you will put overlay.age, if attestd is not to serve it")
	f.StringVar(&s.out, "out", ".", "where the folder goes")
	return c
}

func (s *sealing) run(ctx context.Context, stdout io.Writer, source string, now time.Time) error {
	m, err := s.describe(now)
	if err != nil {
		return err
	}
	recipients, err := readRecipients(s.recipients)
	if err != nil {
		return err
	}
	signer, err := readSigner(ctx, s.key)
	if err != nil {
		return err
	}
	add, done, err := open(source)
	if err != nil {
		return err
	}
	defer done()
	err = seal.Publish(s.out, s.name, func(folder string) error {
		if err := s.write(folder, recipients, m, add); err != nil {
			return err
		}
		signed, err := manifest.Sign(m, signer)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, seal.ManifestFile), signed, 0o644)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "%s: version %d, %d entries, %d bytes, sealed %d\n",
		filepath.Join(s.out, s.name), m.Version, m.Entries, m.ArchiveSize, m.Ciphertext.Size)
	return err
}

// write writes the ciphertext, and where it will be if that is elsewhere.
func (s *sealing) write(folder string, recipients []age.Recipient, m *manifest.Manifest, add func(*archive.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(folder, seal.CiphertextFile), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := errors.Join(seal.Seal(f, recipients, m, add), f.Sync()); err != nil {
		return err
	}
	if s.address == "" {
		return nil
	}
	return writeAddress(folder, f, s.address)
}

// writeAddress makes a folder say that the ciphertext is at address.
func writeAddress(folder string, ciphertext io.ReaderAt, address string) error {
	head, err := io.ReadAll(io.NewSectionReader(ciphertext, 0, seal.HeaderSize))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, seal.HeaderFile), head, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, seal.AddressFile), []byte(address+"\n"), 0o644)
}

// describe gives the part of the manifest that the flags say.
func (s *sealing) describe(now time.Time) (*manifest.Manifest, error) {
	m := &manifest.Manifest{Format: manifest.Format, Name: s.name, Version: s.version, Created: now.UTC().Truncate(time.Second)}
	var err error
	if m.Version, err = s.next(); err != nil {
		return nil, err
	}
	if s.nodes != "" {
		m.Nodes = strings.Split(s.nodes, ",")
		slices.Sort(m.Nodes)
		m.Nodes = slices.Compact(m.Nodes)
	}
	if s.expires != "" {
		if m.Expires, err = expiry(s.expires, m.Created); err != nil {
			return nil, err
		}
	}
	if u, err := url.Parse(s.address); err != nil || s.address != "" && !u.IsAbs() {
		return nil, misuse("--url %q is not of the form SCHEME://HOST/PATH", s.address)
	}
	if s.kernel != "" {
		if m.Kernel, err = booted.KernelFile(s.kernel); err != nil {
			return nil, err
		}
	}
	if s.initrd != "" {
		m.Initrd, err = hash(s.initrd)
	}
	return m, err
}

// next is the version: the one that is asked for, if it is a new one.
func (s *sealing) next() (uint64, error) {
	path := filepath.Join(s.out, s.name, seal.ManifestFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return max(s.version, 1), nil
	} else if err != nil {
		return 0, fmt.Errorf("looking for an older version: %w", err)
	}
	old, err := manifest.Peek(b)
	if err != nil {
		return 0, fmt.Errorf("looking for an older version: %s: %w", path, err)
	}
	if s.version == 0 {
		return old.Version + 1, nil
	}
	if s.version <= old.Version {
		return 0, fmt.Errorf("%s has version %d already, and versions only go up", path, old.Version)
	}
	return s.version, nil
}

// expiry reads a time, a date or a duration from now.
func expiry(text string, now time.Time) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, int(n)), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil {
		return now.Add(d).Truncate(time.Second), nil
	}
	return time.Time{}, misuse("--expires %q is no time like 30d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z", text)
}

func hash(path string) (d manifest.Digest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return d, fmt.Errorf("reading %s: %w", path, err)
	}
	return manifest.Digest(h.Sum(nil)), nil
}

// open looks at what is to be sealed.
func open(source string) (add func(*archive.Writer) error, done func() error, err error) {
	if source == "-" {
		return seal.Tar(os.Stdin), func() error { return nil }, nil
	}
	info, err := os.Stat(source)
	if err != nil {
		return nil, nil, fmt.Errorf("looking at what to seal: %w", err)
	}
	if info.IsDir() {
		return seal.Dir(source), func() error { return nil }, nil
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the archive: %w", err)
	}
	return seal.Tar(f), f.Close, nil
}
