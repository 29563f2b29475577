// Package kconfig keeps the kernel's configuration as fragments in which every
// option has its reason.
//
// A fragment is a file of lines of the kernel's own form (kbuild's
// Documentation/kbuild/kconfig.rst), each with a trailing comment, the reason:
//
//	CONFIG_IGB=y  # 82575 to I350, I210
//	CONFIG_SWAP=n  # Kubernetes wants none
//
// "# CONFIG_SWAP is not set" means CONFIG_SWAP=n here too. The comment block that
// opens the file says what the fragment is for; a later one opens a section.
// Nothing else is a comment: a commented-out option is an error. A symbol has one
// place in all fragments together.
//
// Fragments merge into a file for KCONFIG_ALLCONFIG, on which the kernel's
// allnoconfig turns off what nobody asked for. The kernel drops requests whose
// dependencies are unmet without a word; Check finds them.
package kconfig

import (
	"fmt"
	"regexp"
	"strings"
)

// Off is the value of a boolean or tristate symbol that is not set.
const Off = "n"

// An Option is a symbol, without its CONFIG_ prefix, and the value it has or
// shall have: y, m, n, a number, or a string in its quotes.
type Option struct {
	Symbol string
	Value  string
}

// String gives the option as the kernel writes it.
func (o Option) String() string {
	if o.Value == Off {
		return "# CONFIG_" + o.Symbol + " is not set"
	}
	return "CONFIG_" + o.Symbol + "=" + o.Value
}

var (
	assignment = regexp.MustCompile(`^CONFIG_([A-Za-z0-9_]+)=(y|m|n|0[xX][0-9a-fA-F]+|-?[0-9]+|"(?:[^"\\]|\\.)*")(.*)$`)
	unset      = regexp.MustCompile(`^# CONFIG_([A-Za-z0-9_]+) is not set(.*)$`)
)

// parseOption reads an option at the start of a line and returns what follows it.
// ok is false for a blank line or a comment.
func parseOption(line string) (opt Option, rest string, ok bool, err error) {
	if m := assignment.FindStringSubmatch(line); m != nil {
		return Option{m[1], m[2]}, m[3], true, nil
	}
	if m := unset.FindStringSubmatch(line); m != nil {
		return Option{m[1], Off}, m[2], true, nil
	}
	if line == "" || strings.HasPrefix(line, "#") {
		return Option{}, line, false, nil
	}
	return Option{}, "", false, fmt.Errorf("not an option, a comment or a blank line: %q", line)
}
