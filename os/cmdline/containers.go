package cmdline

import (
	"errors"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The parameters of containers.
const (
	MirrorParam     = "ember.mirror"
	ContainersParam = "ember.containers"
	ScratchParam    = "ember.scratch"
)

// Containers is where images come from and where they and containers are kept.
type Containers struct {
	Mirrors []Mirror // MirrorParam, each registry once
	Memory  string   // ContainersParam, as tmpfs wants its size
	Scratch Disk     // ScratchParam
}

// Mirror is other places to ask for a registry's images, before itself.
type Mirror struct {
	Registry string // host, perhaps with a port, as in the names of images
	// URLs is the mirrors, best first: a scheme and a host, perhaps a port and a path.
	// Those without a scheme are a host, perhaps with a port.
	URLs []string
}

// Disk names a disk or partition. The zero Disk names none.
type Disk struct {
	Tag   string // "" if Value is a path, else one of diskTags
	Value string // is never empty for a Disk that names one
}

// The ways to name a disk other than by its path.
const (
	Label     = "LABEL"     // of the filesystem
	UUID      = "UUID"      // of the filesystem
	PartLabel = "PARTLABEL" // of the partition, in a GPT
	Serial    = "SERIAL"    // of the whole disk
)

var diskTags = []string{Label, UUID, PartLabel, Serial}

// String is d as the command line has it.
func (d Disk) String() string {
	if d.Tag == "" {
		return d.Value
	}
	return d.Tag + "=" + d.Value
}

var containerParams = []Param{{
	Name: MirrorParam,
	Type: "REGISTRY=MIRROR,MIRROR...",
	Doc: "Places to ask for a registry's images before itself, but not for those of Tinkerbell's actions, each a URL or HOST:PORT: " +
		"`ember.mirror=docker.io=https://mirror.example.com`. Of two for the same registry the last one counts.",
	Repeats: true,
	set:     addMirror,
	secret:  mirrorPasswords,
}, {
	Name:    ContainersParam,
	Type:    "number of MiB or GiB as 512M or 4G; share of the memory as 50%",
	Default: "70%",
	Doc:     "The memory that images and containers' files may take.",
	set:     into(func(c *Config) *string { return &c.Containers.Memory }, tmpfsSize),
}, {
	Name: ScratchParam,
	Type: "/dev/NAME, SERIAL=, PARTLABEL=, LABEL= or UUID=",
	Doc: "A disk or partition to keep images and containers' files on instead. It must be empty or " +
		"have an ext4 filesystem called ember-scratch, which is **erased at every boot**.",
	set: into(func(c *Config) *Disk { return &c.Containers.Scratch }, disk),
}}

func addMirror(c *Config, value string) error {
	name, list, _ := strings.Cut(value, "=")
	if _, err := authority(name); err != nil {
		return err
	}
	urls, err := listOf(mirrorURL)(list)
	if err != nil {
		return err
	}
	if len(urls) == 0 {
		return errors.New("it names no mirrors")
	}
	others := slices.DeleteFunc(slices.Clone(c.Containers.Mirrors), func(m Mirror) bool { return m.Registry == name })
	c.Containers.Mirrors = append(others, Mirror{name, urls})
	return nil
}

// mirrorURL accepts no credentials: those that are for a registry are given
// elsewhere.
func mirrorURL(value string) (string, error) {
	if _, err := authority(value); err == nil {
		return value, nil
	}
	u, err := url.Parse(value)
	if err == nil && isPlain(value) && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		if _, err := authority(u.Host); err == nil {
			return strings.TrimSuffix(value, "/"), nil
		}
	}
	return "", errors.New("a mirror is not a URL or HOST:PORT")
}

// mirrorPasswords is the passwords in all mirrors, also of a value that names no registry.
func mirrorPasswords(value string) []string {
	_, list, ok := strings.Cut(value, "=")
	if !ok {
		list = value
	}
	found := passwords(value) // one with a comma too
	for item := range strings.SplitSeq(list, ",") {
		found = append(found, passwords(item)...)
	}
	return found
}

var tmpfsSizes = regexp.MustCompile(`^([0-9]{1,9})([MmGg%])$`)

// tmpfsSize accepts a part of what the option "size" does, see tmpfs(5).
func tmpfsSize(value string) (string, error) {
	if m := tmpfsSizes.FindStringSubmatch(value); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 && (m[2] != "%" || n <= 90) {
			return value, nil
		}
	}
	return "", notA(value, "a size, or a share of up to 90%")
}

func disk(value string) (Disk, error) {
	if _, err := text(value); err != nil {
		return Disk{}, err
	}
	if rest, ok := strings.CutPrefix(value, "/dev/"); ok && rest != "" && path.Clean(value) == value {
		return Disk{Value: value}, nil
	}
	if tag, value, _ := strings.Cut(value, "="); slices.Contains(diskTags, tag) && value != "" {
		return Disk{tag, value}, nil
	}
	return Disk{}, notA(value, "the name of a disk")
}
