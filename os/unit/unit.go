// Package unit reads systemd's unit files: the subset of directives that
// docs/services.md lists. What is not in it is reported, never ignored in silence.
package unit

import "time"

// Unit is one unit with everything that PID 1 has to know of it.
type Unit struct {
	Name        string // with its suffix: "containerd.service"
	Description string

	After    []string // units that this one starts after, if they start at all
	Requires []string // units without which it does not start
	Wants    []string // units that are started with it

	Service *Service // nil for a target, which is up once its units are

	// Problems is what is wrong with its files: directives that are not supported
	// or not understood, each with file and line. The unit runs without them.
	Problems []string `json:",omitempty"`
	// Error says why the unit can not run at all, "" if it can.
	Error string `json:",omitempty"`
}

// BaseTarget is what every machine starts.
const BaseTarget = "ember.target"

// Type is when a service counts as started: see Type= in systemd.service(5).
type Type string

// The types.
const (
	Simple  Type = "simple"  // at once; exec is the same
	Notify  Type = "notify"  // when it says READY=1, see sd_notify(3)
	Oneshot Type = "oneshot" // when it has ended well
)

// Restart is after which ends a service is started again: see Restart= in
// systemd.service(5), with the same words.
type Restart string

// KillMode is which processes of a service get the signals of a stop: see
// KillMode= in systemd.kill(5), with the same words.
type KillMode string

// Service is a unit's [Service] section. Words have their specifiers expanded;
// variables are expanded when the service starts, by package executor.
type Service struct {
	Type            Type
	RemainAfterExit bool
	ExecStartPre    []Command
	ExecStart       []Command // one, but any number for Oneshot
	ExecStopPost    []Command

	Environment      []string // NAME=value
	EnvironmentFiles []EnvironmentFile
	WorkingDirectory string
	// DirectoryOptional says that without the directory the service starts in the
	// root directory.
	DirectoryOptional bool `json:",omitempty"`
	Output            Output

	Restart       Restart
	RestartSec    time.Duration
	StartTimeout  time.Duration // 0 for none
	StopTimeout   time.Duration
	LimitInterval time.Duration // StartLimitIntervalSec; 0 for no limit
	LimitBurst    int

	KillMode       KillMode
	Delegate       bool
	LimitNOFILE    *Limit // nil to leave it as it is; so the next three
	LimitNPROC     *Limit
	LimitCORE      *Limit
	LimitMEMLOCK   *Limit
	TasksMax       string // as cgroup's pids.max wants it; "" to leave it
	OOMScoreAdjust *int
}

// Output is where standard output and standard error go.
type Output string

// The outputs, with systemd's words.
const (
	Journal        Output = "journal"
	JournalConsole Output = "journal+console" // to all consoles of the machine too
	Null           Output = "null"
)

// Command is a program and its arguments.
type Command struct {
	Path          string   // absolute, or a name to be searched for in PATH
	Args          []string // with its own name as the first
	IgnoreFailure bool     // the "-" of systemd.service(5)
	Literal       bool     `json:",omitempty"` // the ":": variables are not expanded
}

// EnvironmentFile holds lines of NAME=value.
type EnvironmentFile struct {
	Path     string
	Optional bool
}

// Limit is a resource limit, soft and hard; see setrlimit(2).
type Limit struct{ Soft, Hard uint64 }
