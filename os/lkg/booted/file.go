package booted

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// The setup header of a bzImage: Documentation/arch/x86/boot.rst of Linux.
const (
	setupSectors  = 0x1f1
	headerMagic   = 0x202 // "HdrS"
	headerVersion = 0x206
	payloadOffset = 0x248
	payloadLength = 0x24c
	setupHeader   = 0x250 // bytes up to here are needed

	payloadVersion = 0x0208 // the first that has the payload's place
	sector         = 512
	maxKernel      = 256 << 20 // uncompressed
	maxWindow      = 128 << 20 // of zstd -22, with which Linux compresses
	maxNotes       = 1 << 20
)

// KernelFile is what Kernel gives where the kernel in this file runs. The file is a bzImage that is compressed
// with zstd, as Ember's is.
func KernelFile(path string) (Digest, error) {
	image, err := os.ReadFile(path)
	if err != nil {
		return Digest{}, err
	}
	sum, err := kernelOf(image)
	if err != nil {
		return Digest{}, fmt.Errorf("reading the kernel %s: %w", path, err)
	}
	return sum, nil
}

func kernelOf(image []byte) (Digest, error) {
	payload, err := payload(image)
	if err != nil {
		return Digest{}, err
	}
	program, err := unpack(payload)
	if err != nil {
		return Digest{}, err
	}
	notes, err := notes(program)
	if err != nil {
		return Digest{}, err
	}
	return sha256.Sum256(notes), nil
}

// payload is what a bzImage unpacks when it starts.
func payload(image []byte) ([]byte, error) {
	if len(image) < setupHeader || string(image[headerMagic:headerMagic+4]) != "HdrS" || binary.LittleEndian.Uint16(image[headerVersion:]) < payloadVersion {
		return nil, errors.New("it is not a bzImage")
	}
	sectors := int64(image[setupSectors])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors+1)*sector + int64(binary.LittleEndian.Uint32(image[payloadOffset:]))
	end := start + int64(binary.LittleEndian.Uint32(image[payloadLength:]))
	if end > int64(len(image)) {
		return nil, errors.New("it was cut short")
	}
	return image[start:end], nil
}

// unpack gives the kernel proper. The last four bytes of the payload say how large it is.
func unpack(payload []byte) ([]byte, error) {
	if !bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return nil, errors.New("it is not compressed with zstd")
	}
	size := int64(binary.LittleEndian.Uint32(payload[len(payload)-4:]))
	if size > maxKernel {
		return nil, fmt.Errorf("unpacked it would have %d bytes", size)
	}
	d, err := zstd.NewReader(bytes.NewReader(payload[:len(payload)-4]), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	program := new(bytes.Buffer)
	if n, err := io.Copy(program, io.LimitReader(d, size+1)); err != nil {
		return nil, fmt.Errorf("unpacking it: %w", err)
	} else if n != size {
		return nil, errors.New("unpacking it: it has another size than it says")
	}
	return program.Bytes(), nil
}

// notes are those that the running kernel shows.
func notes(program []byte) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("it unpacks to what is no ELF program: %w", err)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz == 0 || p.Filesz > maxNotes {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return nil, fmt.Errorf("reading its notes: %w", err)
		}
		if bytes.Contains(b, buildID) {
			return b, nil
		}
	}
	return nil, errors.New("it has no build ID")
}

// buildID is how the note of a build ID begins, behind the sizes of name and contents: NT_GNU_BUILD_ID, "GNU".
var buildID = []byte("\x03\x00\x00\x00GNU\x00")
