package packed

import (
	"os"

	"golang.org/x/sys/unix"
)

// block is how much of a file the kernel unpacks at once, in bytes.
const block = 1 << 20

// Ahead has the kernel unpack programs before they are started, for as long as it takes. One that is not there, or not
// packed, is left out.
func Ahead(paths []string) {
	for _, path := range paths {
		if f, err := os.Open(path); err == nil {
			ahead(f)
			f.Close()
		}
	}
}

func ahead(f *os.File) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	for offset := int64(0); offset < info.Size(); offset += block {
		if unix.Fadvise(int(f.Fd()), offset, 1, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
