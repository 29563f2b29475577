package logd

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ember-os/ember/os/netstate"
)

// hostnameAge is how long a hostname is used before it is looked up again.
const hostnameAge = time.Second

// newHostname gives the machine's name for the collector, best first as in RFC
// 5424, 6.2.4: with the domain, without it, an address; "" if there is none. The
// network daemon says in the file at path what it knows.
func newHostname(path string) func() string {
	var mu sync.Mutex
	var name string
	var at time.Time
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); at.IsZero() || now.Sub(at) > hostnameAge {
			state, _ := netstate.Read(path) // without it the kernel knows a name
			own, _ := os.Hostname()
			name, at = hostname(state, own), now
		}
		return name
	}
}

// hostname chooses from what is known; own is the kernel's name for the machine.
func hostname(s netstate.State, own string) string {
	name := s.Hostname
	if name == "" && own != "(none)" && own != "localhost" {
		name = own
	}
	if name != "" {
		if s.Domain != "" && !strings.Contains(name, ".") {
			name += "." + s.Domain
		}
		return name
	}
	for _, link := range s.Links {
		if link.Name == s.Link && len(link.Addresses) > 0 {
			return link.Addresses[0].Prefix.Addr().String()
		}
	}
	return ""
}
