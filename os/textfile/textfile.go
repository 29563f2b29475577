// Package textfile reads files that people write. What is no regular file is an error, since a FIFO would keep the
// reader waiting for ever; so is one that is longer than any of its kind.
package textfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Read gives what is in a file of at most that many bytes. Its errors are of type *fs.PathError.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	failed := func(err error) error { return &fs.PathError{Op: "read", Path: path, Err: err} }
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, failed(errors.New("it is not a file"))
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = failed(fmt.Errorf("it has more than %d bytes", most))
	}
	if err != nil {
		return nil, err
	}
	return text, nil
}
