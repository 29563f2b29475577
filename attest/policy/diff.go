package policy

import (
	"fmt"
	"maps"
	"slices"
)

// Difference is what is different between the measurements of two builds.
type Difference struct {
	OldVersion string           `json:"oldVersion"`
	NewVersion string           `json:"newVersion"`
	Files      []FileChange     `json:"files"`
	Paths      []PathDifference `json:"paths"`
}

// FileChange is a file that is another one now. Old or New is nil if there is none.
type FileChange struct {
	Name string  `json:"name"`
	Old  *Digest `json:"old,omitempty"`
	New  *Digest `json:"new,omitempty"`
}

// PathDifference is what is different on one way to boot.
type PathDifference struct {
	Name string `json:"name"`
	// Only is "old" or "new" if the other build does not know this way.
	Only       string            `json:"only,omitempty"`
	Conditions []ConditionChange `json:"conditions"`
	Log        []EventChange     `json:"log"`
}

// ConditionChange is of one condition on a PCR.
type ConditionChange struct {
	PCR int `json:"pcr"`
	// Kind is "value", "require" or "only", as in a policy.
	Kind string  `json:"kind"`
	Old  Digests `json:"old,omitempty"` // that are not in the new one
	New  Digests `json:"new,omitempty"` // that are not in the old one
}

// EventChange is of one event that a machine records. Old or New is nil if there is none.
type EventChange struct {
	PCR  int     `json:"pcr"`
	What string  `json:"what"`
	Old  *Digest `json:"old,omitempty"`
	New  *Digest `json:"new,omitempty"`
}

// Same tells that machines cannot be told apart that have booted the one or the other.
func (d *Difference) Same() bool { return len(d.Files) == 0 && len(d.Paths) == 0 }

// Diff compares a build with the next one. What is the same in both is left out.
func (b *Build) Diff(next *Build) *Difference {
	d := &Difference{OldVersion: b.Version, NewVersion: next.Version, Files: []FileChange{}, Paths: []PathDifference{}}
	for _, name := range union(b.Files, next.Files) {
		before, after := lookup(b.Files, name), lookup(next.Files, name)
		if !equal(before, after) {
			d.Files = append(d.Files, FileChange{name, before, after})
		}
	}
	for _, p := range b.Paths {
		other, err := next.path(p.Name)
		change := p.diff(other)
		if err != nil {
			change.Only = "old"
		}
		d.Paths = append(d.Paths, change)
	}
	for _, p := range next.Paths {
		if _, err := b.path(p.Name); err != nil {
			change := Path{}.diff(p)
			change.Only = "new"
			d.Paths = append(d.Paths, change)
		}
	}
	d.Paths = slices.DeleteFunc(d.Paths, func(p PathDifference) bool {
		return p.Only == "" && len(p.Conditions) == 0 && len(p.Log) == 0
	})
	return d
}

// diff compares p with the same way of the next build. One of the two may be empty.
func (p Path) diff(next Path) PathDifference {
	d := PathDifference{Name: max(p.Name, next.Name), Conditions: []ConditionChange{}, Log: []EventChange{}}
	for _, pcr := range union(p.PCRs, next.PCRs) {
		d.condition(pcr, "value", p.PCRs[pcr], next.PCRs[pcr])
	}
	for _, pcr := range union(p.Events, next.Events) {
		d.condition(pcr, "require", p.Events[pcr].Require, next.Events[pcr].Require)
		d.condition(pcr, "only", p.Events[pcr].Only, next.Events[pcr].Only)
	}
	before, after := numbered(p.Log), numbered(next.Log)
	for _, e := range slices.Concat(p.Log, next.Log) {
		key := fmt.Sprint(e.PCR, e.What)
		was, is := take(before, key), take(after, key)
		if (was != nil || is != nil) && !equal(was, is) {
			d.Log = append(d.Log, EventChange{e.PCR, e.What, was, is})
		}
	}
	return d
}

func (d *PathDifference) condition(pcr int, kind string, before, after Digests) {
	c := ConditionChange{PCR: pcr, Kind: kind, Old: without(before, after), New: without(after, before)}
	if len(c.Old) > 0 || len(c.New) > 0 {
		d.Conditions = append(d.Conditions, c)
	}
}

// without are those of ds that are not in other.
func without(ds, other Digests) (left Digests) {
	for _, d := range ds {
		if !slices.Contains(other, d) {
			left = append(left, d)
		}
	}
	return left
}

// numbered are the digests of a log by what they are of, in their order.
func numbered(log []Measured) map[string][]Digest {
	all := make(map[string][]Digest)
	for _, e := range log {
		key := fmt.Sprint(e.PCR, e.What)
		all[key] = append(all[key], e.Digest)
	}
	return all
}

// take takes the first of them, nil if there is none left.
func take(all map[string][]Digest, key string) *Digest {
	if len(all[key]) == 0 {
		return nil
	}
	first := all[key][0]
	all[key] = all[key][1:]
	return &first
}

func lookup(all map[string]Digest, name string) *Digest {
	if d, ok := all[name]; ok {
		return &d
	}
	return nil
}

func equal(a, b *Digest) bool { return a == b || a != nil && b != nil && *a == *b }

func union[K interface{ int | string }, V any](a, b map[K]V) []K {
	all := maps.Clone(a)
	if all == nil {
		all = make(map[K]V)
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
