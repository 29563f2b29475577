package packed

import (
	"os"

	"golang.org/x/sys/unix"
)

// block is how much of a file the kernel unpacks at once, in bytes.
const block = 1 << 20

// Ahead has the kernel unpack programs before they are started, for as long as it takes. What is not there, not packed
// or no regular file is left out: a FIFO or a device is not waited for.
func Ahead(paths []string) {
	for _, path := range paths {
		if f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
			ahead(f)
			f.Close()
		}
	}
}

func ahead(f *os.File) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	for offset := int64(0); offset < info.Size(); offset += block {
		if unix.Fadvise(int(f.Fd()), offset, 1, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
