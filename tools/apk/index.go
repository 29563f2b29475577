package apk

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteIndex writes APKINDEX.tar.gz: what a repository holds, signed. A package
// listed twice is an error.
func WriteIndex(w io.Writer, description string, packages []*Package, key *Key) error {
	sorted := slices.SortedFunc(slices.Values(packages), func(a, b *Package) int {
		return cmp.Compare(a.FileName(), b.FileName())
	})
	var text bytes.Buffer
	for i, p := range sorted {
		if i > 0 && sorted[i-1].FileName() == p.FileName() {
			return fmt.Errorf("writing index: %s is given twice", p.FileName())
		}
		p.writeStanza(&text)
	}
	var b bytes.Buffer
	s := newSegment(&b)
	epoch := time.Unix(0, 0)
	err := errors.Join(
		s.file("DESCRIPTION", []byte(description), epoch),
		s.file("APKINDEX", text.Bytes(), epoch),
		s.close(true))
	if err != nil {
		return fmt.Errorf("writing index: %w", err)
	}
	signature, err := key.sign(b.Bytes())
	if err != nil {
		return fmt.Errorf("writing index: %w", err)
	}
	for _, member := range [][]byte{signature, b.Bytes()} {
		if _, err := w.Write(member); err != nil {
			return fmt.Errorf("writing index: %w", err)
		}
	}
	return nil
}

func (p *Package) writeStanza(b *bytes.Buffer) {
	fmt.Fprintf(b, "C:Q1%s\n", base64.StdEncoding.EncodeToString(p.Control[:]))
	for _, f := range p.fields() {
		if values := f.values(); f.index != 0 && len(values) > 0 {
			fmt.Fprintf(b, "%c:%s\n", f.index, strings.Join(values, " "))
		}
		if f.key == "arch" {
			fmt.Fprintf(b, "S:%d\n", p.Length)
		}
	}
	b.WriteByte('\n')
}
