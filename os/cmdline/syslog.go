package cmdline

// The parameters of logging to another machine.
const (
	SyslogParam     = "ember.syslog"
	SyslogHostParam = "syslog_host"
	SyslogPortParam = "syslog_port"
)

// The transports of syslog.
const (
	UDP = "udp" // RFC 5426
	TCP = "tcp" // RFC 6587
	TLS = "tls" // RFC 5425
)

// Syslog is where the log is sent.
type Syslog struct {
	Host      string // name or address without brackets; "" to send nothing
	Port      int    // SyslogPortParam, else what is usual for Transport
	Transport string // UDP, TCP or TLS
}

// syslogParams has SyslogPortParam behind SyslogParam, which sets the usual port.
var syslogParams = []Param{{
	Name: SyslogHostParam,
	Type: "name or IP address",
	Doc:  "The log is sent to this machine, as RFC 5424 has it.",
	set:  into(func(c *Config) *string { return &c.Syslog.Host }, host),
}, {
	Name:    SyslogParam,
	Type:    "udp, tcp or tls",
	Default: UDP,
	Doc:     "How the log is sent to `syslog_host`.",
	set: func(c *Config, value string) error {
		transport, err := oneOf(UDP, TCP, TLS)(value)
		if err != nil {
			return err
		}
		c.Syslog.Transport, c.Syslog.Port = transport, 514
		if transport == TLS {
			c.Syslog.Port = 6514
		}
		return nil
	},
}, {
	Name: SyslogPortParam,
	Type: "number from 1 to 65535",
	Doc:  "The port of `syslog_host`. Without it 514, for tls 6514.",
	set:  into(func(c *Config) *int { return &c.Syslog.Port }, port),
}}
