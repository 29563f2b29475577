// Package executor turns a process that PID 1 has started into a service's program.
package executor

import "github.com/ember-os/ember/os/unit"

// Spec is the document on file descriptor 3.
type Spec struct {
	Unit    string       // its name
	Command unit.Command // the one to run
	Environ []string     // before the unit's own variables
	Service unit.Service
}
