package unit

import (
	"slices"
	"strings"
)

// breakCycles finds units that wait for each other, and gives one unit of each
// cycle an error that names the cycle, so that the others start. Units that can not
// run hold nobody up. The units must be in the order of their names.
func breakCycles(units []Unit) {
	index := map[string]int{}
	required := map[string]bool{}
	for i, u := range units {
		index[u.Name] = i
		for _, name := range u.Requires {
			required[name] = true
		}
	}
	for {
		cycle := findCycle(units, index)
		if cycle == nil {
			return
		}
		// Best goes a service, and one that no other unit requires.
		cost := func(i int) int {
			c := 0
			if units[i].Service == nil {
				c += 2
			}
			if required[units[i].Name] {
				c++
			}
			return c
		}
		victim := slices.MinFunc(cycle, func(a, b int) int {
			if d := cost(a) - cost(b); d != 0 {
				return d
			}
			return b - a // the last one by name
		})
		start := slices.Index(cycle, victim)
		var names []string
		for i := range len(cycle) + 1 {
			names = append(names, units[cycle[(start+i)%len(cycle)]].Name)
		}
		units[victim].Error = "its order is a cycle: " + strings.Join(names, " after ")
	}
}

// findCycle returns units of which each is after the next and the last after the
// first; nil if there are none.
func findCycle(units []Unit, index map[string]int) []int {
	const (
		open = 1 + iota
		done
	)
	state := make([]int, len(units))
	var path []int
	var visit func(i int) []int
	visit = func(i int) []int {
		if units[i].Error != "" || state[i] == done {
			return nil
		}
		if state[i] == open {
			return path[slices.Index(path, i):]
		}
		state[i] = open
		path = append(path, i)
		for _, name := range units[i].After {
			if cycle := visit(index[name]); cycle != nil {
				return cycle
			}
		}
		path = path[:len(path)-1]
		state[i] = done
		return nil
	}
	for i := range units {
		if cycle := visit(i); cycle != nil {
			return cycle
		}
	}
	return nil
}
