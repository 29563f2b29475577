package archive

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// writable are the directories below which an overlay writes.
var writable = []string{"etc", "opt", "root", "usr/local", "var/lib"}

// reserved are what it does not write, though they are below one of those, each with the reason.
var reserved = []struct{ path, reason string }{
	{"etc/ember/attest", "what a machine trusts comes with its image"},
	{"etc/ssl/certs/ca-certificates.crt", "it is made at every boot of what is in etc/ssl/ember.d"},
	{"etc/resolv.conf", "the network writes it"},
	{"etc/mtab", "the kernel has the list of mounts"},
}

// reachable are what links may lead to besides those.
var reachable = []string{"bin", "run", "sbin", "usr"}

// Writable tells why an entry of an overlay may not be at path. The directories in which others are, for
// example etc and usr, may be entries too, as directories.
func Writable(path string, kind Kind) error {
	for _, r := range reserved {
		if within(path, r.path) {
			return fmt.Errorf("an overlay does not write it: %s", r.reason)
		}
	}
	for _, dir := range writable {
		if path != dir && within(path, dir) || kind == Directory && within(dir, path) {
			return nil
		}
	}
	return fmt.Errorf("an overlay writes only below %s", strings.Join(writable, ", "))
}

// within tells whether path is dir or below it, in any case of its letters.
func within(path, dir string) bool {
	path, dir = fold(path), fold(dir)
	return path == dir || strings.HasPrefix(path, dir+"/")
}

// checkTarget tells why a link at name may not lead to target. It looks at the text only: nothing that
// applies an overlay follows a link.
func checkTarget(name, target string) error {
	if target == "" || len(target) > maxPath {
		return fmt.Errorf("its target is empty or has more than %d bytes", maxPath)
	}
	full := target
	if !path.IsAbs(target) {
		// Clean drops what is above the root.
		if depth := strings.Count(name, "/"); climbs(target) > depth {
			return errors.New("its target is above the machine's root")
		}
		full = path.Join("/", path.Dir(name), target)
	}
	full = strings.TrimPrefix(path.Clean(full), "/")
	if full == "dev/null" { // which is how a unit is masked
		return nil
	}
	if err := checkPath(full); err != nil {
		return fmt.Errorf("its target %q: %w", shorten(target), err)
	}
	dirs := slices.Concat(writable, reachable)
	if !slices.ContainsFunc(dirs, func(dir string) bool { return within(full, dir) }) {
		return fmt.Errorf("its target %q is not below %s", shorten(target), strings.Join(dirs, ", "))
	}
	return nil
}

// climbs is how far a relative path leads up at most.
func climbs(target string) int {
	depth, most := 0, 0
	for name := range strings.SplitSeq(target, "/") {
		switch name {
		case "", ".":
		case "..":
			depth--
			most = max(most, -depth)
		default:
			depth++
		}
	}
	return most
}
