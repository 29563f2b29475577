// Package kept is the file with the configuration of a slot: a sealed overlay as it was fetched, and behind it what
// the machine knew when it was let in, with the overlay's file key, which the TPM has sealed (package attest/vault).
//
//	     the overlay's ciphertext, age
//	     JSON: Config in the one encoding that Go gives of it
//	 0  8  "EMBERCFG"
//	 8  4  version of this layout: 1, little-endian
//	12  4  length of the JSON, in bytes
//
// The ciphertext comes first, so that the file can be described once the ciphertext has passed, when the rest is not
// known yet: see Sum. Of a file that may have a gigabyte nothing is in memory but a buffer and the JSON.
//
// Nothing of the file is trusted. Open checks the manifest's signature anew; whoever reads the ciphertext gives it to
// attest/overlay/extract, which compares it with the manifest; what else is in the file is as good as the disk is:
// the time, by which the manifest must not have expired, and what is for people.
package kept

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
	"github.com/ember-os/ember/attest/protocol"
)

const (
	magic      = "EMBERCFG"
	layout     = 1
	footerSize = int64(len(magic) + 4 + 4)
	maxJSON    = 2 * manifest.MaxSize // bytes
	maxKey     = 4096                 // bytes
)

// Config is what is behind the ciphertext.
type Config struct {
	Node     string        `json:"node"`     // the machine's name, protocol.NodeID
	Tier     protocol.Tier `json:"tier"`     // how far the server trusted it
	Time     time.Time     `json:"time"`     // when the server let it in, by its clock; in whole seconds, UTC
	Manifest []byte        `json:"manifest"` // signed
	Key      []byte        `json:"key"`      // the overlay's file key, sealed: a blob of attest/vault
}

func (c *Config) validate() (*manifest.Manifest, error) {
	var id manifest.Digest
	if err := id.UnmarshalText([]byte(c.Node)); err != nil || id.String() != c.Node {
		return nil, fmt.Errorf("%q is not the name of a machine", c.Node)
	}
	switch {
	case c.Tier != protocol.Attested && c.Tier != protocol.Enrolled && c.Tier != protocol.None:
		return nil, fmt.Errorf("there is no tier %q", c.Tier)
	case c.Time.Nanosecond() != 0 || c.Time.Location() != time.UTC:
		return nil, errors.New("its time is not of whole seconds in UTC")
	case len(c.Key) == 0 || len(c.Key) > maxKey:
		return nil, fmt.Errorf("its sealed key has %d bytes, not 1 to %d", len(c.Key), maxKey)
	}
	return manifest.Peek(c.Manifest)
}

// encode gives what is behind the ciphertext, and the manifest.
func (c *Config) encode() ([]byte, *manifest.Manifest, error) {
	m, err := c.validate()
	if err != nil {
		return nil, nil, fmt.Errorf("writing the kept configuration: %w", err)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return nil, nil, fmt.Errorf("writing the kept configuration: %w", err)
	}
	b := append(text, magic...)
	b = binary.LittleEndian.AppendUint32(b, layout)
	return binary.LittleEndian.AppendUint32(b, uint32(len(text))), m, nil
}

func decode(text []byte) (*Config, error) {
	c := new(Config)
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	if again, err := json.Marshal(c); err != nil || !bytes.Equal(again, text) {
		return nil, errors.New("its JSON is not in the one encoding that it has")
	}
	return c, nil
}

// Reader gives the file's bytes, and closes the ciphertext.
func Reader(ciphertext io.ReadCloser, c *Config) (io.ReadCloser, error) {
	tail, _, err := c.encode()
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(ciphertext, bytes.NewReader(tail)), ciphertext}, nil
}

// Open reads a file of size bytes, whose manifest one of the keys has signed. The ciphertext has as many bytes as the
// manifest says; whether they are the right ones is known when they have been read (extract.Stage).
func Open(r io.ReaderAt, size int64, keys ...manifest.Key) (*Config, *manifest.Manifest, *io.SectionReader, error) {
	c, ciphertext, err := open(r, size)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := manifest.Open(c.Manifest, keys...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("reading the kept configuration: %w", err)
	}
	return c, m, ciphertext, nil
}

// open is Open, whoever has signed the manifest.
func open(r io.ReaderAt, size int64) (*Config, *io.SectionReader, error) {
	c, n, err := read(r, size)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the kept configuration: %w", err)
	}
	return c, io.NewSectionReader(r, 0, n), nil
}

// read gives also the length of the ciphertext.
func read(r io.ReaderAt, size int64) (*Config, int64, error) {
	var footer [footerSize]byte
	if size < footerSize {
		return nil, 0, errors.New("it is cut short")
	}
	if err := readAt(r, footer[:], size-footerSize); err != nil {
		return nil, 0, err
	}
	le := binary.LittleEndian
	length := int64(le.Uint32(footer[12:]))
	switch {
	case string(footer[:len(magic)]) != magic || le.Uint32(footer[8:]) != layout:
		return nil, 0, errors.New("it is of another version of Ember, or of something else")
	case length > maxJSON || length > size-footerSize:
		return nil, 0, fmt.Errorf("%d bytes behind its ciphertext are more than can be", length)
	}
	text := make([]byte, length)
	if err := readAt(r, text, size-footerSize-length); err != nil {
		return nil, 0, err
	}
	c, err := decode(text)
	if err != nil {
		return nil, 0, err
	}
	m, err := c.validate()
	if err != nil {
		return nil, 0, err
	}
	if n := size - footerSize - length; n != m.Ciphertext.Size {
		return nil, 0, fmt.Errorf("its ciphertext has %d bytes, and the manifest says %d", n, m.Ciphertext.Size)
	}
	return c, m.Ciphertext.Size, nil
}

// readAt fills b.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	return err
}
