package textfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, fifo, link := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("file", link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		if text, err := Read(path, 4); err != nil || string(text) != "text" {
			t.Errorf("%s: %q, %v", path, text, err)
		}
	}
	for _, test := range []struct {
		path string
		most int64
		want string
	}{
		{file, 3, "it has more than 3 bytes"},
		{fifo, 3, "it is not a file"},
		{dir, 3, "it is not a file"},
		{"/dev/zero", 3, "it is not a file"},
		{filepath.Join(dir, "missing"), 3, "no such file or directory"},
	} {
		text, err := Read(test.path, test.most)
		var p *fs.PathError
		if text != nil || !errors.As(err, &p) || p.Path != test.path || !strings.HasSuffix(err.Error(), test.want) {
			t.Errorf("%s: %q, %v; want %q", test.path, text, err, test.want)
		}
	}
}
