// Package manual tests that what a page tells operators works. It has nothing but tests.
package manual

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/attesttest"
)

func TestMain(m *testing.M) { attesttest.Main(m) }

const page = "../../docs/operate.md"

// names are the machines of the page, and what it calls them.
var names = map[string]string{
	"rack4":    "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	"rack5":    "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
	"newboard": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
}

// TestOperate does what docs/operate.md says, from top to bottom: commands, with what they are said to print, and
// machines with real TPMs, with what their consoles are said to show. Addresses, ports, paths and the machines' names
// are others than on the page, etcd has one member and no TLS, and servers take more requests of a machine, which boots
// more often here.
func TestOperate(t *testing.T) {
	s := newSite(t)
	output := ""
	for _, b := range blocks(t, page) {
		where := fmt.Sprintf("%s:%d", page, b.line)
		switch b.kind {
		case "sh":
			output = s.run(where, b.text)
			continue
		case "console":
			who, build, old := strings.Cut(b.who, " ")
			m, path := s.machines[who], "srv/boot/uki.efi"
			if m == nil {
				t.Fatalf("%s: there is no machine %q", where, who)
			}
			if old { // whatever the boot server has
				path = "builds/" + build
			}
			output = s.back.Replace(m.boot(filepath.Join(s.dir, path), s.address()))
		case "text":
		default:
			continue
		}
		if line := missing(output, b.text); line != "" {
			t.Fatalf("%s: there is no line\n%s\nin\n%s", where, line, output)
		}
	}
}
