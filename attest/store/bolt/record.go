package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"github.com/ember-os/ember/attest/store"
)

// record is an entry as it is in the file: a byte for the format, the revision and the end, 8 bytes each,
// big-endian, and the value.
type record struct {
	revision uint64
	end      int64 // in milliseconds since 1970; 0 for never
	value    []byte
}

const (
	format = 1
	header = 1 + 8 + 8
)

func (r record) encode() []byte {
	b := append(make([]byte, 0, header+len(r.value)), format)
	b = binary.BigEndian.AppendUint64(b, r.revision)
	b = binary.BigEndian.AppendUint64(b, uint64(r.end))
	return append(b, r.value...)
}

// decode reads a record, whose value is part of b.
func decode(b []byte) (record, error) {
	if len(b) < header || b[0] != format {
		return record{}, errors.New("the record is damaged, or of a newer version")
	}
	r := record{
		revision: binary.BigEndian.Uint64(b[1:]),
		end:      int64(binary.BigEndian.Uint64(b[9:])),
		value:    b[header:],
	}
	if r.revision == 0 || r.end < 0 {
		return record{}, errors.New("the record is damaged")
	}
	return r, nil
}

func (r record) ended(now time.Time) bool { return r.end != 0 && r.end <= now.UnixMilli() }

// entry has bytes of its own, because those of the file are gone after the transaction.
func (r record) entry(key string) store.Entry {
	return store.Entry{Key: key, Value: bytes.Clone(r.value), Revision: r.revision}
}
