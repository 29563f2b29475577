package tree

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	whiteout    = ".wh."
	opaque      = ".wh..wh..opq"
	xattrRecord = "SCHILY.xattr."
	// maxSize is what the newc format can say of a file's size.
	maxSize = math.MaxUint32
)

var types = map[byte]uint32{
	tar.TypeReg:     unix.S_IFREG,
	tar.TypeDir:     unix.S_IFDIR,
	tar.TypeSymlink: unix.S_IFLNK,
	tar.TypeChar:    unix.S_IFCHR,
	tar.TypeBlock:   unix.S_IFBLK,
	tar.TypeFifo:    unix.S_IFIFO,
}

// Apply puts a layer, an unpacked tar stream, over the tree. After an error the
// tree is of no use.
func (t *Tree) Apply(layer io.Reader) error {
	t.layer++
	for r := tar.NewReader(layer); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("applying layer %d: %w", t.layer, err)
		}
		if err := t.apply(h, r); err != nil {
			return fmt.Errorf("applying layer %d: %s: %w", t.layer, h.Name, err)
		}
	}
}

func (t *Tree) apply(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	p, err := entryPath(h.Name)
	if err != nil {
		return err
	}
	if p == "/" {
		return nil
	}
	dirPath, name := path.Split(p)
	if strings.HasPrefix(name, whiteout) {
		return t.applyWhiteout(dirPath, name)
	}
	inode, err := t.inode(h, r)
	if err != nil {
		return err
	}
	dir, _, err := t.dir(dirPath, true)
	if err != nil {
		return err
	}
	t.put(dir, name, inode)
	return nil
}

// entryPath makes a tar's name an absolute path.
func entryPath(name string) (string, error) {
	if strings.HasPrefix(name, "/") {
		return "", errors.New("the path is absolute")
	}
	all := elements(name)
	for i, e := range all {
		if e == ".." {
			return "", errors.New("the path leads upwards")
		}
		if i < len(all)-1 && strings.HasPrefix(e, whiteout) {
			return "", errors.New("the path lies below a whiteout")
		}
	}
	return "/" + strings.Join(all, "/"), nil
}

func (t *Tree) applyWhiteout(dirPath, name string) error {
	hidden := strings.TrimPrefix(name, whiteout)
	if hidden == "" || hidden == "." || hidden == ".." || strings.HasPrefix(hidden, whiteout) && name != opaque {
		return errors.New("it is no whiteout the OCI specification knows")
	}
	dir, _, err := t.dir(dirPath, false)
	if err != nil || dir == nil {
		return err
	}
	if name == opaque {
		t.hideLower(dir)
	} else {
		t.hide(dir, hidden)
	}
	return nil
}

// inode makes the inode of an entry, or finds that of a hard link's target.
func (t *Tree) inode(h *tar.Header, r io.Reader) (*Inode, error) {
	if h.Typeflag == tar.TypeLink {
		return t.linked(h.Linkname)
	}
	fileType, ok := types[h.Typeflag]
	if !ok {
		return nil, fmt.Errorf("files of tar type %q are not supported", h.Typeflag)
	}
	for _, v := range []int64{int64(h.Uid), int64(h.Gid), h.Devmajor, h.Devminor} {
		if v < 0 || v > math.MaxUint32 {
			return nil, fmt.Errorf("owner or device number %d is out of range", v)
		}
	}
	if h.Size > maxSize {
		return nil, fmt.Errorf("%d bytes are more than a newc archive can hold", h.Size)
	}
	if fileType == unix.S_IFLNK && h.Linkname == "" {
		return nil, errors.New("the symbolic link has no target")
	}
	inode := &Inode{Mode: fileType | uint32(h.Mode)&0o7777, UID: uint32(h.Uid), GID: uint32(h.Gid)}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, xattrRecord); ok {
			if inode.Xattrs == nil {
				inode.Xattrs = map[string]string{}
			}
			inode.Xattrs[name] = value
		} else if strings.HasPrefix(key, "GNU.sparse.") {
			return nil, errors.New("sparse files are not supported")
		}
	}
	switch fileType {
	case unix.S_IFLNK:
		inode.Mode = unix.S_IFLNK | 0o777 // as Linux makes them all
		inode.Target = h.Linkname
	case unix.S_IFCHR, unix.S_IFBLK:
		inode.Major, inode.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	case unix.S_IFREG:
		var err error
		if inode.Data, err = io.ReadAll(r); err != nil {
			return nil, fmt.Errorf("reading content: %w", err)
		}
	}
	return inode, nil
}

// linked finds a hard link's target. Only regular files are shared; a second
// name of a device or symbolic link is a copy.
func (t *Tree) linked(target string) (*Inode, error) {
	p, err := entryPath(target)
	if err != nil {
		return nil, fmt.Errorf("hard link to %s: %w", target, err)
	}
	dirPath, name := path.Split(p)
	dir, _, err := t.dir(dirPath, false)
	if err != nil {
		return nil, fmt.Errorf("hard link to %s: %w", target, err)
	}
	if dir == nil || dir.children[name] == nil {
		return nil, fmt.Errorf("hard link to %s, which is not there: a link must come after its file", target)
	}
	switch inode := dir.children[name].inode; {
	case inode.IsDir():
		return nil, fmt.Errorf("hard link to the directory %s", target)
	case inode.IsRegular():
		return inode, nil
	default:
		copied := *inode
		return &copied, nil
	}
}
