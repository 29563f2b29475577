// Package etcfiles writes the files that tell programs of the network: resolv.conf,
// hosts and hostname. Each is replaced as a whole, so nobody reads half of one, and
// only if it changes. Names and addresses must be clean (dnsname): what they hold
// is written as it is.
package etcfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// The end of the lines of hosts that are ours; all others are left alone.
const ours = " # ember"

// local is what a machine must find in hosts, and what it is called there.
var local = [][2]string{{"127.0.0.1", "localhost"}, {"::1", "localhost ip6-localhost"}}

// Dir is the directory of the files, /etc.
type Dir string

// WriteResolv writes resolv.conf(5), best server first.
func (d Dir) WriteResolv(search []string, servers []netip.Addr) error {
	var b strings.Builder
	b.WriteString("# Written by ember networkd, and again whenever the network changes.\n")
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	for _, s := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	return d.write("resolv.conf", b.String())
}

// WriteHostname writes hostname(5) and our line of hosts(5), in which the name
// stands behind its form with the domain, if there is one.
func (d Dir) WriteHostname(name, domain string) error {
	old, err := os.ReadFile(filepath.Join(string(d), "hosts"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading hosts: %w", err)
	}
	return errors.Join(d.write("hostname", name+"\n"), d.write("hosts", hosts(string(old), name, domain)))
}

func hosts(old, name, domain string) string {
	var kept strings.Builder
	known := map[string]bool{}
	for line := range strings.Lines(old) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasSuffix(line, ours) {
			continue
		}
		if fields := strings.Fields(line); len(fields) > 1 {
			known[fields[0]] = true
		}
		kept.WriteString(line + "\n")
	}
	var b strings.Builder
	for _, l := range local {
		if !known[l[0]] {
			b.WriteString(l[0] + " " + l[1] + ours + "\n")
		}
	}
	b.WriteString("127.0.1.1 ")
	if domain != "" {
		b.WriteString(name + "." + domain + " ")
	}
	b.WriteString(name + ours + "\n")
	return b.String() + kept.String()
}

func (d Dir) write(name, text string) error {
	path := filepath.Join(string(d), name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, []byte(text)) {
		return nil
	}
	if err := renameio.WriteFile(path, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
