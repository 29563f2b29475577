package manifest

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	signature  = "#mtree"
	trailer    = "#entries "
	xattrField = "xattr."
	maxLine    = 1 << 20 // a path of 4 KiB and 64 KiB of attributes, escaped, fit many times
)

// Write writes the entries in the order given. An entry that cannot be
// represented is an error.
func Write(w io.Writer, entries []Entry) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, signature)
	for i := range entries {
		if err := entries[i].check(); err != nil {
			return fmt.Errorf("writing manifest: %w", err)
		}
		writeEntry(b, &entries[i])
	}
	fmt.Fprintf(b, "%s%d\n", trailer, len(entries))
	if err := b.Flush(); err != nil {
		return fmt.Errorf("writing manifest: %w", err)
	}
	return nil
}

func writeEntry(b *bufio.Writer, e *Entry) {
	fmt.Fprintf(b, "./%s type=%s mode=%04o uid=%d gid=%d",
		escape(e.Path), types[e.fileType()], e.Mode&0o7777, e.UID, e.GID)
	switch {
	case e.fileType() == unix.S_IFREG:
		fmt.Fprintf(b, " size=%d", e.Size)
	case e.fileType() == unix.S_IFLNK:
		fmt.Fprintf(b, " link=%s", escape(e.Target))
	case e.isDevice():
		fmt.Fprintf(b, " device=linux,%d,%d", e.Major, e.Minor)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(b, " %s%s=%s", xattrField, escape(name), base64.StdEncoding.EncodeToString([]byte(e.Xattrs[name])))
	}
	b.WriteByte('\n')
}

// Read reads what Write wrote. Anything else, and a list that was cut short, is
// an error that names the line.
func Read(r io.Reader) ([]Entry, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	if !lines.Scan() || lines.Text() != signature {
		return nil, errors.Join(errors.New("reading manifest: no manifest: its first line is not "+signature), lines.Err())
	}
	var entries []Entry
	for lines.Scan() {
		if count, ok := strings.CutPrefix(lines.Text(), trailer); ok {
			if count != strconv.Itoa(len(entries)) || lines.Scan() {
				return nil, fmt.Errorf("reading manifest: %d entries where its end says %q", len(entries), count)
			}
			return entries, nil
		}
		e, err := readEntry(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("reading manifest: line %d: %w", len(entries)+2, err)
		}
		entries = append(entries, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading manifest: %w", err)
	}
	return nil, fmt.Errorf("reading manifest: cut short after %d entries: %w", len(entries), io.ErrUnexpectedEOF)
}

func readEntry(line string) (Entry, error) {
	words := strings.Split(line, " ")
	name, ok := strings.CutPrefix(words[0], "./")
	if !ok {
		return Entry{}, fmt.Errorf("%q does not begin with ./", line)
	}
	p, err := unescape(name)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Path: p}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok || seen[key] {
			return Entry{}, fmt.Errorf("%q is no field, or a second one of its kind", word)
		}
		seen[key] = true
		if err := e.set(key, value); err != nil {
			return Entry{}, fmt.Errorf("field %q: %w", word, err)
		}
	}
	for _, field := range []struct {
		key    string
		needed bool
	}{
		{"type", true}, {"mode", true}, {"uid", true}, {"gid", true},
		{"size", e.fileType() == unix.S_IFREG},
		{"link", e.fileType() == unix.S_IFLNK},
		{"device", e.isDevice()},
	} {
		if seen[field.key] != field.needed {
			return Entry{}, fmt.Errorf("%q: field %s is missing or does not belong", line, field.key)
		}
	}
	return e, e.check()
}

// set takes one field of a line into the entry.
func (e *Entry) set(key, value string) error {
	var err error
	switch key {
	case "type":
		for mode, name := range types {
			if name == value {
				e.Mode |= mode
				return nil
			}
		}
		return errors.New("no such file type")
	case "mode":
		var mode uint64
		mode, err = strconv.ParseUint(value, 8, 12)
		e.Mode |= uint32(mode)
	case "uid":
		e.UID, err = strconv.Atoi(value)
	case "gid":
		e.GID, err = strconv.Atoi(value)
	case "size":
		e.Size, err = strconv.ParseInt(value, 10, 64)
	case "link":
		e.Target, err = unescape(value)
	case "device":
		var end string
		if n, _ := fmt.Sscanf(value, "linux,%d,%d%s", &e.Major, &e.Minor, &end); n != 2 {
			err = errors.New("not linux,<major>,<minor>")
		}
	default:
		name, ok := strings.CutPrefix(key, xattrField)
		if !ok {
			return errors.New("unknown field")
		}
		if name, err = unescape(name); err != nil {
			return err
		}
		var raw []byte
		raw, err = base64.StdEncoding.DecodeString(value)
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[name] = string(raw)
	}
	return err
}

// escape writes every byte that is not a plain visible one as \ooo.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`\#=*?[`, c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(s string) (string, error) {
	first, rest, escaped := strings.Cut(s, `\`)
	if !escaped {
		return s, nil
	}
	var b strings.Builder
	b.WriteString(first)
	for _, part := range strings.Split(rest, `\`) {
		if len(part) < 3 {
			return "", fmt.Errorf("%q has an incomplete escape", s)
		}
		c, err := strconv.ParseUint(part[:3], 8, 8)
		if err != nil {
			return "", fmt.Errorf("%q has a wrong escape: %w", s, err)
		}
		b.WriteByte(byte(c))
		b.WriteString(part[3:])
	}
	return b.String(), nil
}
