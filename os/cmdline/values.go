package cmdline

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Parsers of values. Their errors say what the value is not and are made by notA.

// maxShown is the length up to which an error repeats a value.
const maxShown = 64

// notA says that a value is not what it should be. It repeats only a value that is
// one short word without "@": a quote that was not closed may have put anything
// into it, secrets as well, and a URL may hold a password.
func notA(value, what string) error {
	if !isPlain(value) || len(value) > maxShown || strings.Contains(value, "@") {
		return fmt.Errorf("the value is not %s", what)
	}
	return fmt.Errorf("%q is not %s", value, what)
}

// isPlain says that a value is one word of printable ASCII.
func isPlain(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// word accepts what is plain: names of images, for instance.
func word(value string) (string, error) {
	if !isPlain(value) {
		return "", notA(value, "a word of printable ASCII")
	}
	return value, nil
}

// text accepts what can be printed.
func text(value string) (string, error) {
	if !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return "", notA(value, "text without control characters")
	}
	return value, nil
}

// oneOf accepts exactly the given words.
func oneOf[T ~string](words ...T) func(string) (T, error) {
	return func(value string) (T, error) {
		if !slices.Contains(words, T(value)) {
			return "", notA(value, "one of them")
		}
		return T(value), nil
	}
}

// listOf accepts values with commas between them. Two commas in a row and one at
// the end are no mistake.
func listOf[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(value string) ([]T, error) {
		var list []T
		for item := range strings.SplitSeq(value, ",") {
			if item == "" {
				continue
			}
			v, err := parse(item)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
}

const booleanType = "true or false (or 1, 0, yes, no, on, off, t, f)"

// boolean accepts what strconv.ParseBool does, which Tinkerbell's agent uses, and
// the words of people, in upper and lower case.
func boolean(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "true", "t", "1", "yes", "on":
		return true, nil
	case "false", "f", "0", "no", "off":
		return false, nil
	}
	return false, notA(value, "true or false")
}

// number accepts decimal numbers from low to high.
func number(low, high int) func(string) (int, error) {
	return func(value string) (int, error) {
		n, err := strconv.ParseUint(value, 10, 31)
		if err != nil || int(n) < low || int(n) > high {
			return 0, notA(value, fmt.Sprintf("a number from %d to %d", low, high))
		}
		return int(n), nil
	}
}

var port = number(1, 65535)

// vlan accepts the numbers of IEEE 802.1Q; 0 is for no VLAN, as in a frame.
var vlan = number(0, 4094)

// mac accepts the Ethernet address of one network card, with colons, dashes or
// dots in it.
func mac(value string) (net.HardwareAddr, error) {
	a, err := net.ParseMAC(value)
	if err != nil || len(a) != 6 || a[0]&1 != 0 || slices.Max(a) == 0 {
		return nil, notA(value, "the MAC address of a network card")
	}
	return a, nil
}

// linkName accepts what dev_valid_name in the kernel's net/core/dev.c does, as far
// as it is printable.
func linkName(value string) (string, error) {
	if value == "" || value == "." || value == ".." || len(value) > 15 || !isPlain(value) || strings.ContainsAny(value, "/:") {
		return "", notA(value, "the name of a network interface")
	}
	return value, nil
}

// address accepts the address of one machine. IPv6 may be in brackets.
func address(value string) (netip.Addr, error) {
	a, err := netip.ParseAddr(unbracketed(value))
	a = a.Unmap()
	if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, notA(value, "an IP address")
	}
	return a, nil
}

func unbracketed(value string) string {
	if inner, ok := strings.CutPrefix(value, "["); ok && strings.Contains(inner, ":") {
		if inner, ok := strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return value
}

// domain accepts names of RFC 1123, section 2.1, and "_" in them, which occurs. A
// name that ends in a number is taken for an address that was mistyped.
func domain(value string) (string, error) {
	labels := strings.Split(strings.TrimSuffix(value, "."), ".")
	good := len(value) <= 253
	for _, label := range labels {
		good = good && isLabel(label)
	}
	if !good || strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "", notA(value, "a domain name")
	}
	return value, nil
}

// isLabel says that a value can be between two dots of a name.
func isLabel(value string) bool {
	return len(value) > 0 && len(value) <= 63 && value[0] != '-' && value[len(value)-1] != '-' && !strings.ContainsFunc(value, notOfNames)
}

func notOfNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// host accepts a name or an address, which it gives without brackets.
func host(value string) (string, error) {
	if a, err := address(value); err == nil {
		return a.String(), nil
	}
	if _, err := domain(value); err != nil {
		return "", notA(value, "the name or IP address of a host")
	}
	return value, nil
}

// authority accepts a host, and perhaps a port behind a colon, as in a URL: an IPv6
// address with a port is in brackets.
func authority(value string) (string, error) {
	if _, err := host(value); err == nil {
		return value, nil
	}
	if i := strings.LastIndexByte(value, ':'); i >= 0 {
		_, hostErr := host(value[:i])
		_, portErr := port(value[i+1:])
		if hostErr == nil && portErr == nil && (value[0] == '[' || !strings.Contains(value[:i], ":")) {
			return value, nil
		}
	}
	return "", notA(value, "HOST or HOST:PORT")
}
