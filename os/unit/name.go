package unit

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// The kinds of units, by the end of their names.
const (
	service = ".service"
	target  = ".target"
	slice   = ".slice"
)

// kinds is all of systemd's.
var kinds = []string{service, target, slice, ".socket", ".mount", ".automount", ".swap", ".timer", ".path", ".device", ".scope"}

// checkName returns an error for what can not be a unit's name: see
// systemd.unit(5), "Unit names".
func checkName(name string) error {
	const longest = 255
	stem := strings.TrimSuffix(name, kind(name))
	bad := func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune(`:-_.\@`, r))
	}
	if stem == "" || stem == name || stem[0] == '@' || len(name) > longest || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%q is not a unit's name", excerpt(name))
	}
	return nil
}

// kind is the end of the name that says what kind of unit it is, "" if none.
func kind(name string) string {
	end := name[max(strings.LastIndexByte(name, '.'), 0):]
	if slices.Contains(kinds, end) {
		return end
	}
	return ""
}

// split takes a name apart: "a-b@c.service" into "a-b", "c" and true.
func split(name string) (prefix, instance string, templated bool) {
	return strings.Cut(strings.TrimSuffix(name, kind(name)), "@")
}

// template is the template of an instance, "" for other names.
func template(name string) string {
	prefix, instance, ok := split(name)
	if !ok || instance == "" {
		return ""
	}
	return prefix + "@" + kind(name)
}

// instantiate is the template's instance of that name.
func instantiate(template, instance string) string {
	prefix, _, _ := split(template)
	return prefix + "@" + instance + kind(template)
}

func isTemplate(name string) bool {
	_, instance, ok := split(name)
	return ok && instance == ""
}

// expand replaces the specifiers of systemd.unit(5) that are constant on this
// system. Others are an error.
func expand(name, text string) (string, error) {
	if !strings.Contains(text, "%") {
		return text, nil
	}
	prefix, instance, _ := split(name)
	last := prefix[strings.LastIndexByte(prefix, '-')+1:]
	values := map[byte]string{
		'%': "%",
		'n': name, 'N': strings.TrimSuffix(name, kind(name)),
		'p': prefix, 'P': unit.UnitNameUnescape(prefix),
		'i': instance, 'I': unit.UnitNameUnescape(instance),
		'j': last, 'J': unit.UnitNameUnescape(last),
		't': "/run", 'S': "/var/lib", 'C': "/var/cache", 'L': "/var/log", 'E': "/etc",
		'T': "/tmp", 'V': "/var/tmp", 'h': "/root",
		'u': "root", 'U': "0", 'g': "root", 'G': "0",
	}
	var out strings.Builder
	for {
		before, after, ok := strings.Cut(text, "%")
		out.WriteString(before)
		if !ok {
			return out.String(), nil
		}
		if after == "" {
			return "", errors.New(`a "%" has no letter behind it; "%%" stands for one`)
		}
		value, ok := values[after[0]]
		if !ok {
			return "", fmt.Errorf("the specifier %q is not supported", text[len(before):len(before)+2])
		}
		out.WriteString(value)
		text = after[1:]
	}
}
