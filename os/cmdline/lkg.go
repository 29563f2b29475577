package cmdline

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// The parameters of last-known-good.
const (
	LKGParam       = "ember.lkg"
	LKGURLParam    = "ember.lkg_url"
	LKGLimitsParam = "ember.lkg_limits"
)

// LKGMode says whether a machine keeps what made it a healthy node.
type LKGMode string

// The modes.
const (
	LKGOff  LKGMode = "off"
	LKGOn   LKGMode = "on"
	LKGDisk LKGMode = "disk" // on, and what runs is what was kept
)

// LKG is the last-known-good system of a machine.
type LKG struct {
	Mode   LKGMode                  // LKGParam
	URL    string                   // LKGURLParam; "" for none
	Limits map[string]time.Duration // LKGLimitsParam: by the names of LKGLimits
}

// LKGLimits are the times that LKGLimitsParam can change.
var LKGLimits = []string{"network", "attest", "fetch", "apply", "start", "disk", "ask", "hold", "wait", "longest", "probe"}

var lkgParams = []Param{{
	Name:    LKGParam,
	Type:    "off, on or disk",
	Default: string(LKGOff),
	Doc: "on: what makes this machine a healthy node is kept on its EFI system partition, and boots it when nobody answers, see " +
		"[last-known-good](last-known-good.md). off: no disk is touched. disk: on, and what runs is what was kept; Ember itself says so where the " +
		"firmware can not.",
	set: into(func(c *Config) *LKGMode { return &c.LKG.Mode }, oneOf(LKGOff, LKGOn, LKGDisk)),
}, {
	Name: LKGURLParam,
	Type: "URL that begins with http:// or https://",
	Doc: "Where the program is that this machine was booted with, `uki.efi`, to be kept. It need not be trusted: what is not what was " +
		"booted is not taken.",
	set:    into(func(c *Config) *string { return &c.LKG.URL }, webAddress),
	secret: passwords,
}, {
	Name: LKGLimitsParam,
	Type: "list of NAME:TIME, separated by commas; TIME like 90s, 5m or 1h",
	Doc: "How long the parts of a boot may take, where it is not what [last-known-good](last-known-good.md#the-states-of-a-boot) says: " +
		strings.Join(LKGLimits, ", ") + ".",
	set: into(func(c *Config) *map[string]time.Duration { return &c.LKG.Limits }, limits),
}}

func webAddress(value string) (string, error) {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", notA(value, "a URL that begins with http:// or https://")
	}
	return value, nil
}

const maxLimit = 24 * time.Hour

func limits(value string) (map[string]time.Duration, error) {
	list, err := listOf(func(item string) (map[string]time.Duration, error) {
		name, text, _ := strings.Cut(item, ":")
		d, err := time.ParseDuration(text)
		if !slices.Contains(LKGLimits, name) || err != nil || d <= 0 || d > maxLimit {
			return nil, notA(item, fmt.Sprintf("one of them with a time up to %v", maxLimit))
		}
		return map[string]time.Duration{name: d}, nil
	})(value)
	if err != nil {
		return nil, err
	}
	all := map[string]time.Duration{}
	for _, l := range list {
		maps.Copy(all, l)
	}
	return all, nil
}
