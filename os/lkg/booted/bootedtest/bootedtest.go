// Package bootedtest makes kernels that do not run, for tests: a kernel proper that has nothing but notes, in a
// bzImage as Linux' build makes it.
package bootedtest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// BuildID is a note with a build ID of 20 bytes, NT_GNU_BUILD_ID.
func BuildID(id string) []byte {
	return slices.Concat([]byte{4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0}, []byte("GNU\x00"), []byte(id))
}

// Program is a kernel proper with these notes.
func Program(notes []byte) []byte {
	const headers = 64 + 2*56
	var b bytes.Buffer
	write := func(v any) { binary.Write(&b, binary.LittleEndian, v) } // to memory, of a fixed size
	write(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	})
	size := uint64(len(notes))
	write([]elf.Prog64{
		{Type: uint32(elf.PT_LOAD), Off: headers + size, Filesz: 4, Memsz: 4},
		{Type: uint32(elf.PT_NOTE), Off: headers, Filesz: size, Memsz: size},
	})
	b.Write(notes)
	b.WriteString("code")
	return b.Bytes()
}

// Before is how many bytes are between the setup code, of five sectors, and the compressed program.
const Before = 100

// Image is a bzImage with a program: Documentation/arch/x86/boot.rst of Linux.
func Image(program []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err) // of the options, of which there are none
	}
	payload := binary.LittleEndian.AppendUint32(w.EncodeAll(program, nil), uint32(len(program)))
	b := make([]byte, 5*512+Before)
	b[0x1f1] = 4
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x020f)
	binary.LittleEndian.PutUint32(b[0x248:], Before)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)))
	return slices.Concat(b, payload, make([]byte, 100))
}
