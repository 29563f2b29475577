package cmdline

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// IPAM is a static address.
type IPAM struct {
	MAC      net.HardwareAddr // the network card it is for
	VLAN     int              // on that card; 0 for none
	Address  netip.Prefix     // the address with the length of its network's prefix
	Gateway  netip.Addr       // of the same family as Address; invalid if there is none
	Hostname string           // "" if not given
	DNS      []netip.Addr
	Search   []string // domains
	NTP      []string // names and addresses
}

const ipamDoc = `Tinkerbell's form, with colons between the fields:

    ipam=52-54-00-12-34-56::192.0.2.10:255.255.255.0:192.0.2.1:node1:192.0.2.53,192.0.2.54:example.com:192.0.2.123

| field | value |
|---|---|
| MAC | the network card, with dashes |
| VLAN | number from 1 to 4094; empty or 0: none |
| ADDRESS | IP address |
| NETMASK | as an address, or the length of the prefix |
| GATEWAY | IP address of the default route |
| HOSTNAME | name of the machine, of letters, digits and dashes; perhaps a dot and its domain; up to 64 characters in all. A name with "_" before the dot is reported and not used |
| DNS | IP addresses of name servers, separated by commas |
| SEARCH | domains that names are looked up in, separated by commas |
| NTP | names or IP addresses of time servers, separated by commas |

MAC, ADDRESS and NETMASK are needed. The others may be empty, and empty ones at the end be left out. If one
field is wrong, none is used.

Ember takes IPv6 as well, which Tinkerbell's own systems do not. Each IPv6 address has to be in brackets
then, because of its colons:

    ipam=52-54-00-12-34-56::[2001:db8::10]:64:[fe80::1]:node1:[2001:db8::53],192.0.2.53`

// ipamFields is the fields in their order, of which needed may not be empty.
var ipamFields = []struct {
	name   string
	needed bool
	set    func(*IPAM, string) error
}{
	{"MAC", true, into(func(i *IPAM) *net.HardwareAddr { return &i.MAC }, mac)},
	{"VLAN", false, into(func(i *IPAM) *int { return &i.VLAN }, vlan)},
	{"ADDRESS", true, (*IPAM).setAddress},
	{"NETMASK", true, (*IPAM).setNetmask},
	{"GATEWAY", false, (*IPAM).setGateway},
	{"HOSTNAME", false, into(func(i *IPAM) *string { return &i.Hostname }, hostname)},
	{"DNS", false, into(func(i *IPAM) *[]netip.Addr { return &i.DNS }, listOf(address))},
	{"SEARCH", false, into(func(i *IPAM) *[]string { return &i.Search }, listOf(domain))},
	{"NTP", false, into(func(i *IPAM) *[]string { return &i.NTP }, listOf(host))},
}

func parseIPAM(value string) (*IPAM, error) {
	given := fieldsOf(value)
	if len(given) > len(ipamFields) {
		return nil, fmt.Errorf("it has %d fields; IPv6 addresses need brackets", len(given))
	}
	var i IPAM
	for n, field := range ipamFields {
		switch {
		case n < len(given) && given[n] != "":
			if err := field.set(&i, given[n]); err != nil {
				return nil, fmt.Errorf("%s: %w", field.name, err)
			}
		case field.needed:
			return nil, errors.New(field.name + " is missing")
		}
	}
	return &i, nil
}

// fieldsOf separates at colons that are not in brackets.
func fieldsOf(value string) []string {
	var fields []string
	start, inside := 0, false
	for i, r := range value {
		switch {
		case r == '[':
			inside = true
		case r == ']':
			inside = false
		case r == ':' && !inside:
			fields = append(fields, value[start:i])
			start = i + 1
		}
	}
	return append(fields, value[start:])
}

// setAddress leaves the prefix to setNetmask.
func (i *IPAM) setAddress(value string) error {
	a, err := address(value)
	if err == nil && a.IsLoopback() {
		err = notA(value, "an address for a network card")
	}
	i.Address = netip.PrefixFrom(a, a.BitLen())
	return err
}

func (i *IPAM) setNetmask(value string) error {
	a := i.Address.Addr()
	length, err := number(1, a.BitLen())(value)
	if mask, maskErr := netip.ParseAddr(value); maskErr == nil && mask.Is4() && a.Is4() {
		length, _ = net.IPMask(mask.AsSlice()).Size() // 0 if ones and zeros are mixed
		err = nil
	}
	if err != nil || length == 0 {
		return notA(value, fmt.Sprintf("a netmask or a length from 1 to %d", a.BitLen()))
	}
	i.Address = netip.PrefixFrom(a, length)
	return nil
}

func (i *IPAM) setGateway(value string) error {
	gateway, err := address(value)
	if err == nil && gateway.Is4() != i.Address.Addr().Is4() {
		err = notA(value, "of the same IP version as the address")
	}
	i.Gateway = gateway
	return err
}

// hostname accepts a label of RFC 1123, section 2.1, which may be a number, and perhaps a
// domain behind it, as far as sethostname(2) takes both. A "_" in it does not cost the
// machine its address: networkd leaves out the name alone.
func hostname(value string) (string, error) {
	name, behind, qualified := strings.Cut(value, ".")
	good := len(value) <= 64 && isLabel(name)
	if qualified {
		_, err := domain(behind)
		good = good && err == nil && !strings.HasSuffix(behind, ".")
	}
	if !good {
		return "", notA(value, "the name of a machine")
	}
	return value, nil
}
