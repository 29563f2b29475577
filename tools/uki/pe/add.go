package pe

import (
	"errors"
	"fmt"
)

// characteristics of an added section: initialised data, to be read.
const characteristics = 0x40000040

// Content is a section to add.
type Content struct {
	Name string // at most 8 bytes
	Data []byte
}

// AddSections returns a copy of the image with sections behind its own, in memory
// and in the file. Nothing in the image moves, so the table must have room in front
// of the first section's bytes.
func (i *Image) AddSections(contents ...Content) ([]byte, error) {
	out, err := i.addSections(contents)
	if err != nil {
		return nil, fmt.Errorf("adding sections to a UEFI program: %w", err)
	}
	return out, nil
}

func (i *Image) addSections(contents []Content) ([]byte, error) {
	headers, err := i.room(len(contents))
	if err != nil {
		return nil, err
	}
	var address uint64 // the end of what is in memory
	size := alignUp(uint64(len(i.data)), i.fileAlign)
	for _, s := range i.Sections {
		address = max(address, alignUp(uint64(s.Address)+uint64(s.Memory), i.sectAlign))
	}
	names := map[string]bool{}
	for _, s := range i.Sections {
		names[s.Name] = true
	}

	out := make([]byte, size, size+total(contents, i.fileAlign))
	copy(out, i.data)
	for k, c := range contents {
		switch {
		case c.Name == "" || len(c.Name) > 8:
			return nil, fmt.Errorf("section name %q is not 1 to 8 bytes long", c.Name)
		case names[c.Name]:
			return nil, fmt.Errorf("there is a section %s already", c.Name)
		case len(c.Data) == 0:
			return nil, fmt.Errorf("section %s would be empty", c.Name)
		}
		names[c.Name] = true
		padded := alignUp(uint64(len(c.Data)), i.fileAlign)
		end := alignUp(address+uint64(len(c.Data)), i.sectAlign)
		if end >= 1<<32 || uint64(len(out))+padded >= 1<<32 {
			return nil, fmt.Errorf("with section %s the image would be larger than 4 GiB", c.Name)
		}
		entry := out[i.table+(len(i.Sections)+k)*entrySize:]
		copy(entry, c.Name)
		put32(entry, 8, uint32(len(c.Data)))
		put32(entry, 12, uint32(address))
		put32(entry, 16, uint32(padded))
		put32(entry, 20, uint32(len(out)))
		put32(entry, 36, characteristics)
		optional := out[i.optional:]
		put32(optional, initDataAt, u32(optional, initDataAt)+uint32(padded))
		put32(optional, imageSizeAt, uint32(end))
		out = append(out, c.Data...)
		out = append(out, make([]byte, padded-uint64(len(c.Data)))...)
		address = end
	}
	put16(out, i.coff+countAt, uint16(len(i.Sections)+len(contents)))
	put32(out, i.optional+headersAt, headers)
	put32(out, i.optional+checksumAt, checksum(out, i.optional+checksumAt))
	return out, nil
}

// room checks that n more sections may be listed, and gives SizeOfHeaders with them:
// the headers end before the first section begins, in the file and in memory.
func (i *Image) room(n int) (uint32, error) {
	switch {
	case n == 0:
		return 0, errors.New("there are none to add")
	case i.Signed():
		return 0, errors.New("it is signed, which this would break; take one that is not")
	case u32(i.data, i.coff+symbolsAt) != 0:
		return 0, errors.New("it has a table of symbols; strip it")
	case len(i.Sections)+n > maxSections:
		return 0, fmt.Errorf("it would have %d sections; %d can be", len(i.Sections)+n, maxSections)
	}
	limit, content := uint64(len(i.data)), uint64(i.headers)
	for _, s := range i.Sections {
		if s.Size > 0 {
			limit = min(limit, uint64(s.Offset))
			content = max(content, uint64(s.Offset)+uint64(s.Size))
		}
		limit = min(limit, uint64(s.Address))
	}
	if alignUp(content, i.fileAlign) < uint64(len(i.data)) {
		return 0, fmt.Errorf("%d bytes behind its last section would no longer be its end", uint64(len(i.data))-content)
	}
	used := i.table + len(i.Sections)*entrySize
	end := used + n*entrySize
	headers := max(uint64(i.headers), alignUp(uint64(end), i.fileAlign))
	if headers > limit {
		return 0, fmt.Errorf("there is no room for %d more sections: their table would end at byte %d, and the first section begins at %d", n, end, limit)
	}
	for _, b := range i.data[used:end] {
		if b != 0 {
			return 0, fmt.Errorf("there is no room for %d more sections: something else lies behind the table", n)
		}
	}
	return uint32(headers), nil
}

func total(contents []Content, align uint32) (n uint64) {
	for _, c := range contents {
		n += alignUp(uint64(len(c.Data)), align)
	}
	return n
}
