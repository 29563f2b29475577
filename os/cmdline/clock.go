package cmdline

// NTPParam is the parameter of the clock.
const NTPParam = "ember.ntp"

// DefaultNTP is the time server for machines that are told of no other. It is one
// that may be the default of a product, which those of pool.ntp.org may not.
const DefaultNTP = "time.cloudflare.com"

const (
	noNTP   = "none"
	dhcpNTP = "dhcp"
)

var timeParams = []Param{{
	Name:    NTPParam,
	Type:    "list of names and IP addresses, separated by commas; dhcp; none",
	Default: DefaultNTP,
	Doc:     "The time servers where neither `ipam` nor DHCP names any. dhcp: none but what those name. none: the clock is left alone.",
	set: func(c *Config, value string) error {
		if value == noNTP || value == dhcpNTP {
			c.NTP, c.NTPOff = nil, value == noNTP
			return nil
		}
		servers, err := listOf(host)(value)
		if err == nil {
			c.NTP, c.NTPOff = servers, false
		}
		return err
	},
}}
