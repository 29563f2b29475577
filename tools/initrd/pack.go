package initrd

import (
	"archive/tar"
	"fmt"
	"io"
	"path"

	"github.com/ember-os/ember/os/packed"
	"github.com/ember-os/ember/tools/initrd/tree"
)

// packedSize is how many bytes a file has at least that is packed: smaller ones save less than a link to them is
// trouble.
const packedSize = 64 << 10

// Pack takes the large files that the named packages own out of the tree and gives them back, with the directories
// above them, sorted by path: what an image of that name holds, which package packed mounts. Symbolic links to them
// take their places.
func Pack(t *tree.Tree, image string, packages []string) ([]tree.Entry, error) {
	owners, err := readOwners(t, packages)
	if err != nil {
		return nil, err
	}
	files, dirs := map[string]bool{}, map[string]bool{}
	var entries []tree.Entry
	for _, e := range t.Entries() {
		if e.IsRegular() && owners[e.Path].first && len(e.Data) >= packedSize {
			files[e.Path] = true
			markUp(dirs, path.Dir(e.Path))
		}
	}
	for _, e := range t.Entries() {
		switch {
		case dirs[e.Path]:
			entries = append(entries, e)
		case files[e.Path]:
			entries = append(entries, e)
			if err := t.Replace(e.Path, &tree.Inode{Mode: symlink, Target: path.Join(packed.Dir(image), e.Path)}); err != nil {
				return nil, err
			}
		}
	}
	return entries, nil
}

// AddImage puts the image of what Pack gave into the tree, and the directory where it is mounted.
func AddImage(t *tree.Tree, image string, squashfs []byte) error {
	if err := t.Add(packed.Dir(image), &tree.Inode{Mode: directory}); err != nil {
		return err
	}
	return t.Add(packed.Image(image), &tree.Inode{Mode: readOnlyFile, Data: squashfs})
}

// WriteTar writes entries, sorted by path, as a tar archive: what makes a squashfs reads that. Of hard links the
// first carries the data.
func WriteTar(w io.Writer, entries []tree.Entry) error {
	archive := tar.NewWriter(w)
	names := map[*tree.Inode]string{}
	for _, e := range entries {
		h := &tar.Header{Name: e.Path, Mode: int64(e.Mode & 0o7777), Uid: int(e.UID), Gid: int(e.GID), Format: tar.FormatPAX}
		first, again := names[e.Inode]
		switch {
		case e.IsDir():
			h.Typeflag = tar.TypeDir
		case again:
			h.Typeflag, h.Linkname = tar.TypeLink, first
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(e.Data))
			names[e.Inode] = e.Path
		}
		for name, value := range e.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
		if err := archive.WriteHeader(h); err != nil {
			return fmt.Errorf("writing archive: %s: %w", e.Path, err)
		}
		if h.Size > 0 {
			if _, err := archive.Write(e.Data); err != nil {
				return fmt.Errorf("writing archive: %s: %w", e.Path, err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return nil
}
