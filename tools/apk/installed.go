package apk

import (
	"bufio"
	"fmt"
	"io"
	"path"
)

// InstalledPath is where apko keeps the database of installed packages.
const InstalledPath = "usr/lib/apk/db/installed"

// Installed is a package in an image's database.
type Installed struct {
	Info
	Paths []string // of its files and directories, without leading slash
}

// ReadInstalled reads a database of installed packages. Lines of kinds it does
// not know are passed over.
func ReadInstalled(r io.Reader) ([]Installed, error) {
	var packages []Installed
	var p *Installed
	dir := ""
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 4<<20) // a package's list of what it provides is one line
	for number := 1; lines.Scan(); number++ {
		line := lines.Text()
		if line == "" {
			p = nil
			continue
		}
		if len(line) < 2 || line[1] != ':' {
			return nil, fmt.Errorf("reading installed packages: line %d is not of the form K:value", number)
		}
		if p == nil {
			packages = append(packages, Installed{})
			p = &packages[len(packages)-1]
			dir = ""
		}
		if err := p.set(line[0], line[2:], &dir); err != nil {
			return nil, fmt.Errorf("reading installed packages: line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading installed packages: %w", err)
	}
	for i := range packages {
		if packages[i].Name == "" {
			return nil, fmt.Errorf("reading installed packages: package %d has no name", i+1)
		}
	}
	return packages, nil
}

func (p *Installed) set(key byte, value string, dir *string) error {
	switch {
	case key == 'F':
		*dir = value
		if value != "" {
			p.Paths = append(p.Paths, value)
		}
	case key == 'R':
		p.Paths = append(p.Paths, path.Join(*dir, value))
	case value != "":
		for _, f := range p.fields() {
			if f.index == key {
				return f.set(value)
			}
		}
	}
	return nil
}
