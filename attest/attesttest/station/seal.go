package station

import (
	"archive/tar"
	"context"
	"io"
	"os"
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

// operatorKeys is the folder with the operators' keys, and the server's.
const operatorKeys = "keys"

// Keygen makes keys in a folder that is not there yet, and gives the public one of those that sign.
func (s *Station) Keygen(ctx context.Context, folder string) (signer string, err error) {
	if err := s.Run(ctx, nil, s.config.Emberctl, "keygen", "--out", folder); err != nil {
		return "", err
	}
	public, err := os.ReadFile(s.Path(folder + "/overlay.keys"))
	return strings.TrimSpace(string(public)), err
}

// Seal publishes the next version of the overlay Rack, signed by the operators.
func (s *Station) Seal(ctx context.Context, files ...File) error {
	return s.SealBy(ctx, operatorKeys, files...)
}

// SealBy does so with the key in a folder that Keygen has made.
func (s *Station) SealBy(ctx context.Context, folder string, files ...File) error {
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
	return s.Run(ctx, archive, s.config.Emberctl, append([]string{"seal", "-", "--name", Rack, "--key", folder + "/signing.key",
		"--recipient", operatorKeys + "/attestd.recipient", "--expires", "1d", "--out", "overlays"}, s.Sealing...)...)
}

// Unit is the file of a unit, and the link that has it started with the workload.
func Unit(name, text string) []File {
	return []File{
		{Path: "etc/systemd/system/" + name, Mode: 0o644, Text: text},
		{Path: "etc/systemd/system/multi-user.target.wants/" + name, Target: "../" + name},
	}
}
