package apk

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// choice applies the patterns and new names of a Content to the paths in it.
type choice struct {
	content *Content
	used    map[string]bool // patterns that matched
}

func newChoice(c *Content) *choice { return &choice{c, map[string]bool{}} }

func (c *choice) takes(name string) bool {
	included := len(c.content.Include) == 0 || c.matches(c.content.Include, name)
	return included && !c.matches(c.content.Exclude, name)
}

// matches says whether a pattern matches the name or a directory above it.
func (c *choice) matches(patterns []string, name string) bool {
	found := false
	for _, pattern := range patterns {
		for p := name; p != "." && p != "/"; p = path.Dir(p) {
			if ok, err := path.Match(pattern, p); ok && err == nil {
				c.used[pattern] = true
				found = true
			}
		}
	}
	return found
}

func (c *choice) unused() error {
	for _, pattern := range slices.Concat(c.content.Include, c.content.Exclude) {
		if !c.used[pattern] {
			return fmt.Errorf("nothing in %s matches %q", c.content.Source, pattern)
		}
	}
	return nil
}

// place gives the path in the package of a path in the source.
func (c *choice) place(name string) string {
	longest := ""
	for from := range c.content.Rename {
		if len(from) > len(longest) && (name == from || strings.HasPrefix(name, from+"/")) {
			longest = from
		}
	}
	if longest != "" {
		name = c.content.Rename[longest] + name[len(longest):]
	}
	return path.Join(c.content.Path, name)
}
