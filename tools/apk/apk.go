// Package apk makes APK packages (version 2) and signed indexes of them, as
// apk-tools 2 and apko read them.
//
// A package is three gzip members in a row: the signature of the second, the
// control segment with .PKGINFO, and the data. The first two hold tar entries
// without an end-of-archive mark, so that the whole is one tar stream. Every
// output is a function of its inputs alone: names are sorted, times are the one
// given, owners have no names.
//
// Left out of the format: install scripts and triggers, because an image is
// composed and never upgraded in place; device nodes, which apko refuses; owners
// other than root and directories with set-id or sticky bits, which apko drops.
package apk

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Info is what a package says of itself in .PKGINFO and an index repeats.
type Info struct {
	Name             string   `json:"name"`
	Version          string   `json:"version"` // as apk compares them: 1.2.3_p4-r5
	Arch             string   `json:"arch"`    // apk's name: x86_64, aarch64
	Description      string   `json:"description"`
	URL              string   `json:"url"`
	BuildDate        int64    `json:"-"` // seconds since 1970
	Size             int64    `json:"-"` // bytes when installed
	Origin           string   `json:"origin"`
	Commit           string   `json:"commit"`
	Maintainer       string   `json:"maintainer"`
	ProviderPriority int64    `json:"provider_priority"`
	License          string   `json:"license"` // SPDX expression
	Replaces         []string `json:"replaces"`
	Depends          []string `json:"depends"`
	Provides         []string `json:"provides"`
	InstallIf        []string `json:"install_if"`
	DataHash         string   `json:"-"` // hexadecimal SHA-256 of the data member
}

// field is one attribute under its names in .PKGINFO and, unless 0, in an index.
type field struct {
	key   string
	index byte
	value any // *string, *int64 or *[]string
}

func (i *Info) fields() []field {
	return []field{
		{"pkgname", 'P', &i.Name},
		{"pkgver", 'V', &i.Version},
		{"arch", 'A', &i.Arch},
		{"size", 'I', &i.Size},
		{"pkgdesc", 'T', &i.Description},
		{"url", 'U', &i.URL},
		{"license", 'L', &i.License},
		{"origin", 'o', &i.Origin},
		{"maintainer", 'm', &i.Maintainer},
		{"builddate", 't', &i.BuildDate},
		{"commit", 'c', &i.Commit},
		{"provider_priority", 'k', &i.ProviderPriority},
		{"depend", 'D', &i.Depends},
		{"provides", 'p', &i.Provides},
		{"install_if", 'i', &i.InstallIf},
		{"replaces", 0, &i.Replaces},
		{"datahash", 0, &i.DataHash},
	}
}

// values gives the field's words; none if it is empty.
func (f field) values() []string {
	switch v := f.value.(type) {
	case *string:
		if *v != "" {
			return []string{*v}
		}
	case *int64:
		if *v != 0 {
			return []string{strconv.FormatInt(*v, 10)}
		}
	case *[]string:
		return *v
	}
	return nil
}

func (f field) set(text string) error {
	var err error
	switch v := f.value.(type) {
	case *string:
		*v = text
	case *int64:
		*v, err = strconv.ParseInt(text, 10, 64)
	case *[]string:
		*v = append(*v, strings.Fields(text)...)
	}
	return err
}

var (
	namePattern    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9+._-]*$`)
	archPattern    = regexp.MustCompile(`^[a-z0-9_]+$`)
	versionPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*[a-z]?(_(alpha|beta|pre|rc|cvs|svn|git|hg|p)[0-9]*)*(~[0-9a-f]+)?(-r[0-9]+)?$`)
)

// check refuses what no reader of packages takes.
func (i *Info) check() error {
	switch {
	case !namePattern.MatchString(i.Name):
		return fmt.Errorf("%q is no package name", i.Name)
	case !versionPattern.MatchString(i.Version):
		return fmt.Errorf("%q is no version as apk compares them: write it like 1.2.3_p4-r5", i.Version)
	case !archPattern.MatchString(i.Arch):
		return fmt.Errorf("%q is no architecture: apk's are x86_64, aarch64", i.Arch)
	}
	return nil
}

// checkOwn refuses what packages of ours must not have: no licence, and values
// that the readers of .PKGINFO take differently.
func (i *Info) checkOwn() error {
	if i.License == "" {
		return fmt.Errorf("package %s has no licence: give an SPDX expression", i.Name)
	}
	for _, f := range i.fields() {
		for _, v := range f.values() {
			if v != strings.TrimSpace(v) || strings.ContainsAny(v, "\n\r\x00`\"\\#;") {
				return fmt.Errorf("%s %q has a character that ends or quotes a value", f.key, v)
			}
		}
	}
	return nil
}

func (i *Info) pkginfo() []byte {
	var b bytes.Buffer
	for _, f := range i.fields() {
		for _, v := range f.values() {
			fmt.Fprintf(&b, "%s = %s\n", f.key, v)
		}
	}
	return b.Bytes()
}

// parsePkginfo reads .PKGINFO; keys it does not know are passed over.
func parsePkginfo(text string) (Info, error) {
	var info Info
	fields := map[string]field{}
	for _, f := range info.fields() {
		fields[f.key] = f
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			return info, fmt.Errorf("reading .PKGINFO: %q is not key = value", line)
		}
		if f, known := fields[strings.TrimSpace(key)]; known {
			if err := f.set(strings.TrimSpace(value)); err != nil {
				return info, fmt.Errorf("reading .PKGINFO: %q: %w", line, err)
			}
		}
	}
	return info, nil
}
