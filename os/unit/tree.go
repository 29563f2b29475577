package unit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/ember-os/ember/os/textfile"
)

// Dirs is where unit files are, the more important directories first.
var Dirs = []string{
	"/etc/systemd/system",
	"/run/systemd/system",
	"/usr/local/lib/systemd/system",
	"/usr/lib/systemd/system",
}

// The ends of the names of directories that add to a unit: drop-ins, and links to
// units that it wants and requires.
const (
	dropins  = ".d"
	wants    = ".wants"
	requires = ".requires"
)

const (
	longest = 64 << 10 // a file, in bytes
	hops    = 16       // symbolic links in a row
)

// tree is what the directories hold. Its paths are those that programs inside the
// root see.
type tree struct {
	root    string
	files   map[string]string   // unit files by name
	aliases map[string][]string // the names that are links to files of another name
	added   map[string]bool     // paths of directories that add to a unit
}

// scan lists the directories under root. Those that can not be read hold nothing.
func scan(root string) *tree {
	t := &tree{root: root, files: map[string]string{}, aliases: map[string][]string{}, added: map[string]bool{}}
	for _, dir := range Dirs {
		entries, _ := os.ReadDir(root + dir)
		for _, e := range entries {
			name, at := e.Name(), dir+"/"+e.Name()
			switch path.Ext(name) {
			case dropins, wants, requires:
				t.added[at] = true
				continue
			}
			if _, ok := t.files[name]; ok || checkName(name) != nil {
				continue
			}
			t.files[name] = at
			if to := t.aliased(name); to != "" {
				t.aliases[to] = append(t.aliases[to], name)
			}
		}
	}
	return t
}

// aliased is the name for which the unit file name is an alias, "" if it is not
// one. A link to the own template is an instance, not an alias.
func (t *tree) aliased(name string) string {
	to, err := os.Readlink(t.root + t.files[name])
	if err != nil {
		return ""
	}
	to = path.Base(to)
	if to == name || to == template(name) || checkName(to) != nil || kind(to) != kind(name) {
		return ""
	}
	return to
}

// canonical follows aliases.
func (t *tree) canonical(name string) (string, error) {
	for range hops {
		to := ""
		if _, ok := t.files[name]; ok {
			to = t.aliased(name)
		} else if of := template(name); of != "" {
			to = t.aliased(of)
		}
		if to == "" {
			return name, nil
		}
		if isTemplate(to) {
			_, instance, _ := split(name)
			to = instantiate(to, instance)
		}
		name = to
	}
	return "", fmt.Errorf("%s is an alias of itself", name)
}

// file is the unit's own file, that of its template if it has none, or "".
func (t *tree) file(name string) string {
	if at, ok := t.files[name]; ok {
		return at
	}
	return t.files[template(name)]
}

// names is all names that a unit goes by, its own first.
func (t *tree) names(name string) []string {
	names := []string{name}
	for i := 0; i < len(names); i++ {
		for _, alias := range t.aliases[names[i]] {
			if !slices.Contains(names, alias) {
				names = append(names, alias)
			}
		}
	}
	return names
}

// adding lists the files in a unit's directories with that end, sorted by file
// name. Of those with the same name the most important one counts: if it is
// masked, none.
func (t *tree) adding(name, end string) []string {
	var dirs []string
	collect := func(stems ...string) {
		for _, dir := range Dirs {
			for _, stem := range stems {
				if at := dir + "/" + stem + end; t.added[at] {
					dirs = append(dirs, at)
				}
			}
		}
	}
	for _, n := range t.names(name) {
		stems := []string{n}
		if of := template(n); of != "" {
			stems = append(stems, of)
		}
		stem := strings.TrimSuffix(n, kind(n))
		for i := strings.LastIndexByte(stem, '-'); i > 0; i = strings.LastIndexByte(stem[:i], '-') {
			stems = append(stems, stem[:i+1]+kind(n))
		}
		collect(stems...)
	}
	collect(strings.TrimPrefix(kind(name), "."))
	files := map[string]string{}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(t.root + dir)
		for _, e := range entries {
			if _, ok := files[e.Name()]; !ok {
				files[e.Name()] = dir + "/" + e.Name()
			}
		}
	}
	var paths []string
	for _, at := range files {
		if !t.masked(at) {
			paths = append(paths, at)
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(path.Base(a), path.Base(b)) })
	return paths
}

// follow is where a path leads, through links that count from the root.
func (t *tree) follow(at string) (string, error) {
	for range hops {
		to, err := os.Readlink(t.root + at)
		if err != nil {
			return at, nil
		}
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(at), to)
		}
		at = to
	}
	return "", fmt.Errorf("following the links of %s: there are too many", at)
}

// masked tells whether a path is a link to /dev/null, or an empty file.
func (t *tree) masked(at string) bool {
	to, err := t.follow(at)
	if err != nil || to == os.DevNull {
		return err == nil
	}
	info, err := os.Stat(t.root + to)
	return err == nil && info.Mode().IsRegular() && info.Size() == 0
}

// read reads a file of at most 64 KiB.
func (t *tree) read(at string) (string, error) {
	to, err := t.follow(at)
	if err != nil {
		return "", err
	}
	text, err := textfile.Read(t.root+to, longest)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", at, cause(err))
	}
	return string(text), nil
}

// cause is the error without the path, which holds the root.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
