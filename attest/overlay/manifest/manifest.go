// Package manifest has the signed manifest of an overlay: what it is called, which version it is, which
// machines it is for, until when, and which bytes it is made of.
//
// It is text of two lines (docs/overlay.md): the manifest as JSON, in the one encoding that Encode gives, and
// an Ed25519 signature. The key is kept off the machines and off the attestation server, so that neither that
// server nor a file server can write configuration.
//
// The package has no clock and no files.
package manifest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// Format is that of the manifests that this package reads and writes.
	Format = 1
	// MaxSize is the largest signed manifest, in bytes: room for about 3,800 nodes.
	MaxSize = 256 << 10
	// MaxArchive is the largest archive, in bytes.
	MaxArchive = 1 << 40
	// MaxEntries is the largest number of entries in an archive.
	MaxEntries = 1 << 16
	// maxName is the longest name of an overlay.
	maxName = 64
)

// Manifest describes one version of one overlay.
type Manifest struct {
	Format int `json:"format"`
	// Name is of a-z, 0-9, "-" and ".", and begins with a letter or digit.
	Name string `json:"name"`
	// Version is more than that of any earlier one of this name.
	Version uint64    `json:"version"`
	Created time.Time `json:"created"`
	// Expires is when machines no longer take it; zero for never.
	Expires time.Time `json:"expires,omitzero"`
	// Nodes are those that it is for (protocol.NodeID), in order; none for every node.
	Nodes []string `json:"nodes,omitempty"`
	// Ciphertext is the file that the archive is in.
	Ciphertext File `json:"ciphertext"`
	// ArchiveSize is that of the tar archive, uncompressed, in bytes.
	ArchiveSize int64 `json:"archiveSize"`
	// Entries is the number of files, directories and links in it.
	Entries int `json:"entries"`
	// Kernel and Initrd are SHA-256 digests of the only ones that it is for, of a kernel's notes and of an
	// initrd's bytes; zero for any.
	Kernel Digest `json:"kernel,omitzero"`
	Initrd Digest `json:"initrd,omitzero"`
}

// File is the identity of a file's bytes.
type File struct {
	Size   int64  `json:"size"`
	SHA256 Digest `json:"sha256"`
}

// Digest is a SHA-256 digest; as text, in lower-case hex.
type Digest [32]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText gives the digest in hex.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a digest in hex.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) != 2*len(d) {
		return fmt.Errorf("a SHA-256 digest has %d hex digits, not %d", 2*len(d), len(text))
	}
	_, err := hex.Decode(d[:], text)
	return err
}

// Encode gives the JSON that is signed: the fields in the order of the type, no white space, no newline.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("writing a manifest: %w", err)
	}
	return json.Marshal(m)
}

// Decode reads what Encode gives, and nothing else: an unknown, repeated or misspelt field, or another
// encoding of the same values, is an error.
func Decode(text []byte) (*Manifest, error) {
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if m.Format != Format {
		return nil, fmt.Errorf("the manifest is of format %d, not %d", m.Format, Format)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	if again, err := json.Marshal(m); err != nil || !bytes.Equal(again, text) {
		return nil, errors.New("reading the manifest: its JSON is not in the one encoding that it has")
	}
	return m, nil
}

func (m *Manifest) validate() error {
	switch {
	case m.Format != Format:
		return fmt.Errorf("its format is %d, not %d", m.Format, Format)
	case !IsName(m.Name):
		return fmt.Errorf("the name %q is not of 1 to %d of a-z, 0-9, \"-\" and \".\", first a letter or digit", m.Name, maxName)
	case m.Version == 0:
		return errors.New("versions begin with 1")
	case !isTime(m.Created) || !m.Expires.IsZero() && !isTime(m.Expires):
		return errors.New("a time is not of whole seconds in UTC")
	case !m.Expires.IsZero() && !m.Created.Before(m.Expires):
		return errors.New("it expires before it is made")
	case m.ArchiveSize <= 0 || m.ArchiveSize > MaxArchive:
		return fmt.Errorf("the archive's size is not of 1 to %d bytes", MaxArchive)
	case m.Ciphertext.Size <= 0 || m.Ciphertext.Size > 2*MaxArchive:
		return fmt.Errorf("the ciphertext's size is not of 1 to %d bytes", 2*MaxArchive)
	case m.Entries <= 0 || m.Entries > MaxEntries:
		return fmt.Errorf("the number of entries is not of 1 to %d", MaxEntries)
	}
	for i, node := range m.Nodes {
		var id Digest
		if err := id.UnmarshalText([]byte(node)); err != nil || id.String() != node {
			return fmt.Errorf("node %q is not 64 hex digits in lower case", node)
		}
		if i > 0 && m.Nodes[i-1] >= node {
			return errors.New("its nodes are not in order, each once")
		}
	}
	return nil
}

func isTime(t time.Time) bool {
	return !t.IsZero() && t.Nanosecond() == 0 && t.Location() == time.UTC && t.Year() < 10000
}

// IsName tells whether an overlay can be called so.
func IsName(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		case i > 0 && (c == '-' || c == '.'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// Machine is what Check compares a manifest with.
type Machine struct {
	Node string    // protocol.NodeID of its EK
	Now  time.Time // as far as it is known
	// Least is the oldest version that is still good, 0 for any.
	Least uint64
	// Kernel is that of what runs, and Initrds are those that it may be called by; zero and empty if that is not
	// known.
	Kernel  Digest
	Initrds []Digest
}

// Check tells why an overlay is not for a machine at this time. A digest that the manifest asks for and the
// machine does not know is a reason.
func (m *Manifest) Check(on Machine) error {
	switch {
	case len(m.Nodes) > 0 && !slices.Contains(m.Nodes, on.Node):
		return fmt.Errorf("overlay %s is not for this machine, which is node %s", m, on.Node)
	case !m.Expires.IsZero() && !on.Now.Before(m.Expires):
		return fmt.Errorf("overlay %s expired on %s, and it is %s: seal it again", m, m.Expires.Format(time.RFC3339), on.Now.UTC().Format(time.RFC3339))
	case m.Version < on.Least:
		return fmt.Errorf("overlay %s is older than version %d, which is the oldest that is still good", m, on.Least)
	case m.Kernel != Digest{} && m.Kernel != on.Kernel:
		return fmt.Errorf("overlay %s is for another kernel, whose notes have the SHA-256 %s, and here they have %s", m, m.Kernel, on.Kernel)
	case m.Initrd != Digest{} && !slices.Contains(on.Initrds, m.Initrd):
		return fmt.Errorf("overlay %s is for another initrd, with the SHA-256 %s", m, m.Initrd)
	}
	return nil
}

// String gives the name that its files have, without their endings.
func (m *Manifest) String() string { return fmt.Sprintf("%s-%d", m.Name, m.Version) }
