package state

import (
	"errors"
	"fmt"
	"io"
)

// Stride is how far the records are from each other, in bytes: more than any disk writes at a time.
const Stride = 8192

// FileSize is that of a file with both records.
const FileSize = Stride + Size

// File is where the records are.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
}

// Pair is both records, as they were read. The zero Pair is of a file that does not exist yet.
type Pair struct {
	Record Record // the one that counts; zero if none does

	errs    [2]error
	current int // the index of Record
}

// Read reads both records. The error is of the file itself; for the records see Err.
func Read(f io.ReaderAt) (Pair, error) {
	var p Pair
	for i := range p.errs {
		var b [Size]byte
		if _, err := f.ReadAt(b[:], int64(i)*Stride); err != nil && err != io.EOF { // what is cut short is blank or has a wrong sum
			return Pair{}, fmt.Errorf("reading record %d of the state of last-known-good: %w", i, err)
		}
		var r Record
		if r, p.errs[i] = Decode(b); p.errs[i] == nil && r.Sequence > p.Record.Sequence {
			p.Record, p.current = r, i
		}
	}
	return p, nil
}

// Err is nil if a record counts, or nothing was ever written. Else neither can be believed.
func (p Pair) Err() error {
	blank := func(err error) bool { return err == nil || err == ErrBlank }
	if p.Record.Sequence > 0 || blank(p.errs[0]) && blank(p.errs[1]) {
		return nil
	}
	return fmt.Errorf("both records of the state of last-known-good are bad: of the first, %w, of the second, %w", p.errs[0], p.errs[1])
}

// Damaged is what is wrong with the record that does not count, nil also if it was never written.
func (p Pair) Damaged() error {
	err := p.errs[1-p.current]
	if p.Record.Sequence == 0 || err == nil || err == ErrBlank {
		return nil
	}
	return fmt.Errorf("record %d of the state of last-known-good is bad: %w", 1-p.current, err)
}

// Write puts a record in place of the one that does not count, with the next sequence number, and reads it back.
// After an error either may count.
func (p Pair) Write(f File, r Record) (Pair, error) {
	i := 0
	if p.Record.Sequence > 0 {
		i = 1 - p.current
	}
	r.Sequence = p.Record.Sequence + 1
	b := r.Encode()
	if _, err := Decode(b); err != nil {
		return p, errors.New("writing the state of last-known-good: the good slot has no image")
	}
	_, err := f.WriteAt(b[:], int64(i)*Stride)
	if err == nil {
		err = f.Sync()
	}
	var back [Size]byte
	if err == nil {
		_, err = f.ReadAt(back[:], int64(i)*Stride)
	}
	if err == nil || err == io.EOF && back == b {
		err = nil
		if back != b {
			err = errors.New("the disk gives back something else")
		}
	}
	if err != nil {
		return p, fmt.Errorf("writing the state of last-known-good: %w", err)
	}
	p.Record, p.current, p.errs[i] = r, i, nil
	return p, nil
}
