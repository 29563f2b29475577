package unit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// given is the targets that are reached before PID 1 starts the first unit, and
// those that only stand for the end of the system. They count as up where they
// have no unit file.
var given = []string{
	"basic.target", "cryptsetup.target", "local-fs-pre.target", "local-fs.target", "network-pre.target",
	"network.target", "nss-lookup.target", "nss-user-lookup.target", "paths.target", "remote-fs-pre.target",
	"remote-fs.target", "shutdown.target", "slices.target", "sockets.target", "swap.target", "sysinit.target",
	"timers.target",
}

// What Load reads at most. What it makes of that is at most MaxJSON.
const (
	mostUnits    = 512 // a template may want ever new instances of itself
	mostProblems = 32  // of one unit
)

// Load reads the named units and all that they require and want from the Dirs
// under root, "" for the system's own: unit files, drop-ins, .wants and .requires
// directories, aliases, masks and templates as in systemd.unit(5). What is wrong
// with a file is in its unit's Problems and Error, never an end of the whole. Where
// all are more than Decode reads, the largest ones do not run.
//
// After has what Before= of other units says, a target's own units unless they are
// after the target, and only units that are in the result. What is wanted and not
// there is left out, as systemd does. The result is in the order of the names.
//
// Absolute links in the place of directories do not count from root.
func Load(root string, names ...string) []Unit {
	l := &loader{tree: scan(root), built: map[string]*builder{}}
	for _, name := range names {
		l.name(name)
	}
	for len(l.queue) > 0 {
		b := l.built[l.queue[0]]
		l.queue = l.queue[1:]
		b.unit.Requires = l.follow(b, b.unit.Requires, l.require)
		b.unit.Wants = l.follow(b, b.unit.Wants, l.want)
	}
	l.order()
	l.conflicts()
	var all []Unit
	for _, name := range l.sorted() {
		u := l.built[name].unit
		if more := len(u.Problems) - mostProblems; more > 0 {
			u.Problems = append(u.Problems[:mostProblems], fmt.Sprintf("there are %d more problems", more))
		}
		all = append(all, u)
	}
	breakCycles(all)
	fit(all)
	return all
}

// fit leaves the largest units without all but an error, until Decode takes what Encode makes of all of them.
func fit(all []Unit) {
	encoded := func(u Unit) int {
		text, _ := json.Marshal(u) // strings and numbers always can be
		return len(text) + len(",")
	}
	bySize := make([]int, len(all))
	sizes, sum := make([]int, len(all)), len("[]\n")
	for i, u := range all {
		bySize[i], sizes[i] = i, encoded(u)
		sum += sizes[i]
	}
	slices.SortStableFunc(bySize, func(a, b int) int { return sizes[b] - sizes[a] })
	for _, i := range bySize {
		if sum <= MaxJSON {
			return
		}
		all[i] = Unit{Name: all[i].Name, Error: fmt.Sprintf(
			"it takes %d KiB of what init reads, which is too much: all units together may take %d KiB", (sizes[i]+1023)>>10, MaxJSON>>10)}
		sum -= sizes[i] - encoded(all[i])
	}
}

type loader struct {
	tree  *tree
	built map[string]*builder // by canonical name
	queue []string            // built, and what they require and want not yet looked at
}

func (l *loader) sorted() []string { return slices.Sorted(maps.Keys(l.built)) }

// name loads a unit that somebody asked for by name.
func (l *loader) name(name string) {
	canonical, reason := l.look(name)
	if reason == "" {
		l.build(canonical)
		return
	}
	b := newBuilder(name)
	b.fail("%s", reason)
	l.built[name] = b
}

// look finds a unit's canonical name and why it can not be loaded, "" if it can.
func (l *loader) look(name string) (canonical, reason string) {
	if err := checkName(name); err != nil {
		return name, err.Error()
	}
	canonical, err := l.tree.canonical(name)
	if err != nil {
		return name, err.Error()
	}
	if err := checkName(canonical); err != nil {
		return name, err.Error()
	}
	file := l.tree.file(canonical)
	switch k := kind(canonical); {
	case file == "":
		return canonical, "there is no unit file " + canonical
	case l.tree.masked(file):
		return canonical, file + " masks it"
	case isTemplate(canonical):
		return canonical, "it is a template, of which only instances run"
	case k != service && k != target:
		return canonical, fmt.Sprintf("%s units are not supported", k)
	}
	return canonical, ""
}

// build reads the files of a unit that was not read yet.
func (l *loader) build(name string) {
	if l.built[name] != nil {
		return
	}
	b := newBuilder(name)
	l.built[name] = b
	for _, at := range append([]string{l.tree.file(name)}, l.dropins(name)...) {
		text, err := l.tree.read(at)
		if err != nil {
			b.fail("%v", err)
			continue
		}
		b.file(at, text)
	}
	b.unit.Requires = append(b.unit.Requires, l.links(b, requires)...)
	b.unit.Wants = append(b.unit.Wants, l.links(b, wants)...)
	b.finish()
	l.queue = append(l.queue, name)
}

func (l *loader) dropins(name string) []string {
	return slices.DeleteFunc(l.tree.adding(name, dropins), func(at string) bool { return !strings.HasSuffix(at, ".conf") })
}

// links is the units that directories of links name.
func (l *loader) links(b *builder, end string) []string {
	var names []string
	for _, at := range l.tree.adding(b.unit.Name, end) {
		name := at[strings.LastIndexByte(at, '/')+1:]
		if err := checkName(name); err != nil {
			b.unit.Problems = append(b.unit.Problems, fmt.Sprintf("%s: %v, ignored", at, err))
			continue
		}
		names = append(names, name)
	}
	return names
}

// follow loads the units on a list, and returns the canonical names of those that
// are there, sorted. missing gets the others.
func (l *loader) follow(b *builder, names []string, missing func(b *builder, name, reason string)) []string {
	var there []string
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		canonical, reason := l.look(name)
		if reason == "" && l.built[canonical] == nil && len(l.built) >= mostUnits {
			reason = fmt.Sprintf("there are %d units already", mostUnits)
		}
		switch {
		case reason == "" && canonical != b.unit.Name:
			l.build(canonical)
			there = append(there, canonical)
		case reason == "", kind(canonical) == slice:
		case slices.Contains(given, canonical) && l.tree.file(canonical) == "":
		default:
			missing(b, canonical, reason)
		}
	}
	slices.Sort(there)
	return slices.Compact(there)
}

func (l *loader) require(b *builder, name, reason string) {
	b.fail("it requires %s: %s", name, reason)
}

// want says nothing of what is not there, and nothing of what is masked.
func (l *loader) want(b *builder, name, reason string) {
	if file := l.tree.file(name); file != "" && !l.tree.masked(file) {
		b.unit.Problems = append(b.unit.Problems, fmt.Sprintf("it wants %s, which is not started: %s", name, reason))
	}
}

// loaded returns the unit with that name or alias, nil if it is not loaded.
func (l *loader) loaded(name string) *builder {
	canonical, err := l.tree.canonical(name)
	if err != nil {
		return nil
	}
	return l.built[canonical]
}

// order makes After whole.
func (l *loader) order() {
	after := map[*builder]map[string]bool{}
	for _, b := range l.built {
		after[b] = map[string]bool{}
	}
	for _, b := range l.built {
		for _, name := range b.unit.After {
			if first := l.loaded(name); first != nil {
				after[b][first.unit.Name] = true
			}
		}
		for _, name := range b.before {
			if then := l.loaded(name); then != nil {
				after[then][b.unit.Name] = true
			}
		}
	}
	for _, b := range l.built {
		if b.unit.Service != nil {
			continue
		}
		for _, name := range slices.Concat(b.unit.Requires, b.unit.Wants) {
			if !after[l.built[name]][b.unit.Name] {
				after[b][name] = true
			}
		}
	}
	for _, b := range l.built {
		delete(after[b], b.unit.Name)
		b.unit.After = slices.Sorted(maps.Keys(after[b]))
	}
}

// conflicts reports units that should not run together, and will.
func (l *loader) conflicts() {
	for _, b := range l.built {
		for _, name := range b.conflicts {
			if other := l.loaded(name); other != nil && other != b {
				b.unit.Problems = append(b.unit.Problems,
					fmt.Sprintf("it conflicts with %s, which is started too: Conflicts= is not supported", other.unit.Name))
			}
		}
	}
}
