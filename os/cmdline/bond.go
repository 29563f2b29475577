package cmdline

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// The modes of bonds.
const (
	ActiveBackup = "active-backup" // one member carries everything until it fails
	LACP         = "802.3ad"       // all members at once, negotiated with the switch
)

// Bond is several network cards used as one.
type Bond struct {
	Name    string
	Members []string // names of links, or MAC addresses as net.HardwareAddr writes them
	Mode    string   // ActiveBackup or LACP
	// Options is the kernel's options of the bond but for its mode, numbers in
	// decimal and words as the kernel's documentation writes them. There always is a
	// "miimon"; "primary" is one of Members.
	Options map[string]string
	MTU     int // 0 to leave it as it is
}

const bondDoc = `Dracut's form, with colons between the fields:

    ember.bond=bond0:52-54-00-12-34-56,52-54-00-12-34-57:mode=802.3ad,lacp_rate=fast:9000

| field | value |
|---|---|
| NAME | of the bond, up to 15 characters |
| MEMBERS | names of network interfaces or MAC addresses with dashes, separated by commas |
| OPTIONS | NAME=VALUE, separated by commas |
| MTU | number from 68 to 65535; below 1280 the bond has no IPv6 |

OPTIONS and MTU may be empty or left out. The options are the kernel's, in words or numbers:

| option | value | default |
|---|---|---|
| mode | active-backup (1) or 802.3ad (4) | active-backup |
| miimon | ms between two looks at the members' carriers, from 1 | 100 |
| updelay, downdelay | ms | the kernel's, as for all that follow |
| primary | the member to prefer, in active-backup | |
| primary_reselect | always, better, failure | |
| fail_over_mac | none, active, follow | |
| lacp_rate | slow, fast, in 802.3ad | |
| ad_select | stable, bandwidth, count | |
| xmit_hash_policy | layer2, layer3+4, layer2+3, encap2+3, encap3+4, vlan+srcmac | |
| min_links | number of members that must have a carrier, in 802.3ad | |`

// milliseconds accepts a day and less.
var milliseconds = number(0, 24*60*60*1000)

// bondOptions is the parsers of options, which give the form that Options has.
var bondOptions = map[string]func(string) (string, error){
	"mode":             choice("", ActiveBackup, "", "", LACP),
	"miimon":           decimal(number(1, 24*60*60*1000)),
	"updelay":          decimal(milliseconds),
	"downdelay":        decimal(milliseconds),
	"min_links":        decimal(number(0, 255)),
	"primary":          member,
	"primary_reselect": choice("always", "better", "failure"),
	"fail_over_mac":    choice("none", "active", "follow"),
	"lacp_rate":        choice("slow", "fast"),
	"ad_select":        choice("stable", "bandwidth", "count"),
	"xmit_hash_policy": choice("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"),
}

// bondModes is the one mode that an option is for; the kernel refuses it in others.
var bondModes = []struct{ option, mode string }{{"primary", ActiveBackup}, {"lacp_rate", LACP}}

func addBond(c *Config, value string) error {
	b, err := parseBond(value)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(c.Bonds), func(other Bond) bool { return other.Name == b.Name })
	for _, other := range others {
		for _, m := range b.Members {
			if slices.Contains(other.Members, m) {
				return fmt.Errorf("%s is a member of %s", m, other.Name)
			}
		}
	}
	c.Bonds = append(others, b)
	return nil
}

func parseBond(value string) (Bond, error) {
	fields := strings.Split(value, ":")
	if len(fields) < 2 || len(fields) > 4 {
		return Bond{}, fmt.Errorf("it has %d fields; MAC addresses need dashes", len(fields))
	}
	fields = append(fields, "", "")
	b := Bond{Mode: ActiveBackup, Options: map[string]string{"miimon": "100"}}
	var err error
	if b.Name, err = linkName(fields[0]); err != nil {
		return Bond{}, err
	}
	if b.Members, err = listOf(member)(fields[1]); err != nil {
		return Bond{}, err
	}
	if len(b.Members) == 0 {
		return Bond{}, errors.New("it has no members")
	}
	for i, m := range b.Members {
		if m == b.Name || slices.Contains(b.Members[:i], m) {
			return Bond{}, errors.New(m + " is there twice")
		}
	}
	if err := b.setOptions(fields[2]); err != nil {
		return Bond{}, err
	}
	if fields[3] != "" {
		if b.MTU, err = number(68, 65535)(fields[3]); err != nil {
			return Bond{}, err
		}
	}
	return b, nil
}

func (b *Bond) setOptions(value string) error {
	for option := range strings.SplitSeq(value, ",") {
		if option == "" {
			continue
		}
		name, value, _ := strings.Cut(option, "=")
		parse := bondOptions[name]
		if parse == nil {
			return notA(name, "an option")
		}
		v, err := parse(value)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		b.Options[name] = v
	}
	if mode, ok := b.Options["mode"]; ok {
		b.Mode = mode
		delete(b.Options, "mode")
	}
	for _, only := range bondModes {
		if _, ok := b.Options[only.option]; ok && b.Mode != only.mode {
			return fmt.Errorf("%s is for mode=%s only", only.option, only.mode)
		}
	}
	if primary, ok := b.Options["primary"]; ok && !slices.Contains(b.Members, primary) {
		return fmt.Errorf("primary: %s is no member", primary)
	}
	return nil
}

// member accepts the name of a link or a MAC address, which can not be one: it is
// too long.
func member(value string) (string, error) {
	if a, err := net.ParseMAC(value); err == nil {
		_, err := mac(value)
		return a.String(), err
	}
	return linkName(value)
}

// choice accepts words, and their places in the list in their stead.
func choice(words ...string) func(string) (string, error) {
	return func(value string) (string, error) {
		for i, word := range words {
			if word != "" && (value == word || value == strconv.Itoa(i)) {
				return word, nil
			}
		}
		return "", notA(value, "one of its values")
	}
}

func decimal(parse func(string) (int, error)) func(string) (string, error) {
	return func(value string) (string, error) {
		n, err := parse(value)
		return strconv.Itoa(n), err
	}
}
