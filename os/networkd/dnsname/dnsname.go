// Package dnsname decides which names from the network may become a host name, a
// search domain or a line of resolv.conf. Whoever answers DHCP first writes these
// names, so nothing but letters, digits, "-", "_" and dots passes.
package dnsname

import (
	"errors"
	"strings"
)

// The limits of RFC 1035, section 2.3.4, in the form people write.
const (
	maxName  = 253
	maxLabel = 63
)

// Clean gives a name in lower case without the dot and the NULs that may end it.
// It is "" if the name is none: labels of RFC 1123, section 2.1, and "_", which
// some networks have in their domains.
func Clean(name string) string {
	name = strings.ToLower(strings.TrimSuffix(strings.TrimRight(name, "\x00"), "."))
	if len(name) > maxName {
		return ""
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isLabel(label) {
			return ""
		}
	}
	return name
}

// Host gives the host name in a name that may have a domain, "" if there is none.
// It fits sethostname(2), whose limit is one more than a label's.
func Host(name string) string {
	host, _, _ := strings.Cut(Clean(name), ".")
	if strings.Contains(host, "_") {
		return ""
	}
	return host
}

// CleanAll cleans names and leaves out those that are none, and repetitions.
func CleanAll(names []string) []string {
	var clean []string
	seen := map[string]bool{"": true}
	for _, n := range names {
		if n = Clean(n); !seen[n] {
			seen[n] = true
			clean = append(clean, n)
		}
	}
	return clean
}

// Unpack reads names in the form of RFC 1035, section 3.1, with zeros behind the last
// one. They are not clean. Compressed ones are an error, as RFC 8106 says; unpacking
// them can take longer than anybody waits.
func Unpack(b []byte) ([]string, error) {
	var names, labels []string
	for len(b) > 0 {
		n := int(b[0])
		switch {
		case n > maxLabel || n+1 > len(b):
			return nil, errors.New("unpacking names: a label is too long")
		case n > 0:
			labels = append(labels, string(b[1:n+1]))
		case labels != nil:
			names, labels = append(names, strings.Join(labels, ".")), nil
		}
		b = b[n+1:]
	}
	if labels != nil {
		return nil, errors.New("unpacking names: the last one has no end")
	}
	return names, nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
