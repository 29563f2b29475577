package station

import (
	"archive/tar"
	"context"
	"io"
	"strings"
)

// File is a file of an overlay.
type File struct {
	Path     string
	Mode     int64
	UID, GID int
	Text     string
	Zeros    int64  // bytes, behind the text
	Target   string // of a symbolic link, which it makes the file
}

func (f File) write(w *tar.Writer) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: f.Mode, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Text)) + f.Zeros}
	if f.Target != "" {
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Target, 0o777
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.CopyN(w, io.MultiReader(strings.NewReader(f.Text), zeros{}), h.Size)
	return err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Seal publishes the next version of the overlay Rack.
func (s *Station) Seal(ctx context.Context, files ...File) error {
	archive, writer := io.Pipe()
	defer archive.Close()
	go func() {
		w := tar.NewWriter(writer)
		for _, f := range files {
			if err := f.write(w); err != nil {
				writer.CloseWithError(err)
				return
			}
		}
		writer.CloseWithError(w.Close())
	}()
	return s.Run(ctx, archive, s.config.Emberctl, append([]string{"seal", "-", "--name", Rack, "--key", "keys/signing.key",
		"--recipient", "keys/attestd.recipient", "--expires", "1d", "--out", "overlays"}, s.Sealing...)...)
}

// Unit is the file of a unit, and the link that has it started with the workload.
func Unit(name, text string) []File {
	return []File{
		{Path: "etc/systemd/system/" + name, Mode: 0o644, Text: text},
		{Path: "etc/systemd/system/multi-user.target.wants/" + name, Target: "../" + name},
	}
}
