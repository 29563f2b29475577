// Package lockdiff tells people how a lock changed: a sorted line for each name
// that appeared (+), went (-) or is another one than it was (~).
package lockdiff

import (
	"maps"
	"slices"
)

// Lines compares what two states of a lock give each name, such as its version.
func Lines(before, after map[string]string) (lines []string) {
	names := map[string]string{}
	maps.Copy(names, before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, is := before[name], after[name]
		switch {
		case was == is:
		case was == "":
			lines = append(lines, "+ "+name+" "+is)
		case is == "":
			lines = append(lines, "- "+name+" "+was)
		default:
			lines = append(lines, "~ "+name+" "+was+" -> "+is)
		}
	}
	return lines
}
