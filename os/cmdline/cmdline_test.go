package cmdline

import (
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	word := func(name string) Arg { return Arg{Name: name, Bare: true} }
	pair := func(name, value string) Arg { return Arg{Name: name, Value: value} }
	for _, tt := range []struct {
		line string
		want []Arg
	}{
		{"", nil},
		{" \t\n\v\f\r\xa0", nil},
		{"quiet", []Arg{word("quiet")}},
		{"  a=1\tb=2\nquiet \n", []Arg{pair("a", "1"), pair("b", "2"), word("quiet")}},
		{"a=", []Arg{pair("a", "")}},
		{"a= b", []Arg{pair("a", ""), word("b")}},
		{"a=b=c", []Arg{pair("a", "b=c")}},
		{"=a", []Arg{word("=a")}},
		{"=a=b", []Arg{pair("=a", "b")}},
		{`a="b c" d`, []Arg{pair("a", "b c"), word("d")}},
		{`"a=b c" d`, []Arg{pair("a", "b c"), word("d")}},
		{`"a b" c`, []Arg{word("a b"), word("c")}},
		{`"a" b`, []Arg{word("a"), word("b")}},
		{`a=b" "c`, []Arg{pair("a", `b" "c`)}},
		{`a="b"c`, []Arg{pair("a", `b"c`)}},
		{`a="b c`, []Arg{pair("a", "b c")}},
		{`a="" b`, []Arg{pair("a", ""), word("b")}},
		{`a=" b`, []Arg{pair("a", " b")}},
		{`a="`, []Arg{pair("a", "")}},
		{`a""b=c`, []Arg{pair(`a""b`, "c")}},
		{`"`, []Arg{word("")}},
		{`""`, []Arg{word("")}},
		{`"" a`, []Arg{word(""), word("a")}},
		{`"a="b c" d`, []Arg{pair("a", "b"), word(`c" d`)}},
		{`a=\"b c\"`, []Arg{pair("a", `\"b c\"`)}},
		{"a=b\xa0c", []Arg{pair("a", "b"), word("c")}},
		{"\xff\xfe=\x01", []Arg{pair("\xff\xfe", "\x01")}},
		{"a\x00b", []Arg{word("a")}},
		{"-- a=b", []Arg{word("--"), pair("a", "b")}},
	} {
		if got := Split(tt.line); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Split(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
	}
}

// with is what an empty line gives, changed.
func with(f func(*Config)) Config {
	c := Config{
		Log:         slog.LevelInfo,
		Workload:    WorkloadAuto,
		SerialLines: SerialAll,
		NTP:         []string{DefaultNTP},
		Syslog:      Syslog{Port: 514, Transport: "udp"},
		LKG:         LKG{Mode: LKGOff},

		Containers: Containers{Memory: "70%"},
	}
	f(&c)
	return c
}

var standard = with(func(*Config) {})

// parsing is a line, what it gives, and how the mistakes in it begin.
type parsing struct {
	line string
	want Config
	errs []string
}

func TestParse(t *testing.T) {
	checkParse(t, []parsing{
		{"", standard, nil},
		{"BOOT_IMAGE=vmlinuz quiet ro facility= -- single", standard, nil},
		{"ember.debug=shell", with(func(c *Config) { c.Debug.Shell = true }), nil},
		{"ember.debug=fail,panic", with(func(c *Config) { c.Debug = Debug{Fail: true, Panic: true} }), nil},
		{"ember.debug=shell ember.debug=fail", with(func(c *Config) { c.Debug.Fail = true }), nil},
		{"ember.debug=shell ember.debug=", standard, nil},
		{"ember.debug", standard, []string{"ember.debug: it needs a value; expected list of shell, fail, panic, separated by commas; ignored"}},
		{"ember.debug=shell,sehll", standard, []string{`ember.debug: "sehll" is not one of them`}},
		{"ember.debug=shell ember.debug=x", standard, []string{`ember.debug: "x" is not one of them`}},
		{"ember.log=debug", with(func(c *Config) { c.Log = slog.LevelDebug }), nil},
		{"ember.log=loud", standard, []string{`ember.log: `}},
		{"ember.log=loud ember.log=WARN", with(func(c *Config) { c.Log = slog.LevelWarn }), nil},
		{"ember.serial=named", with(func(c *Config) { c.SerialLines = SerialNamed }), nil},
		{"ember.serial=ttyS1", standard, []string{`ember.serial: "ttyS1" is not one of them; expected all or named; using "all"`}},
		{"ember.workload=none", with(func(c *Config) { c.Workload = WorkloadNone }), nil},
		{"ember.workload=None", standard, []string{`ember.workload: "None" is not one of them; expected auto, tinkerbell, services or none; using "auto"`}},
		{"panic=0", with(func(c *Config) { c.KernelPanic = true }), nil},
		{"a-b=1 ember.work-load=none", standard, []string{"ember.work-load: there is no such"}},
		{"-- ember.workload=services", with(func(c *Config) { c.Workload = WorkloadServices }), nil},
		{"ember.wrkload=none ember.", standard, []string{"ember.wrkload: there is no such", "ember.: there is no such"}},
		{"console=tty0 console= console=ttyS1,115200n8", with(func(c *Config) { c.Consoles = []Console{{Device: "tty0"}, {"ttyS1", "115200n8"}} }), nil},
		{"pad=" + strings.Repeat("x", 4060) + " ember.debug=shell console=hvc0", with(func(c *Config) {
			c.Debug.Shell, c.Consoles = true, []Console{{Device: "hvc0"}}
		}), nil},
		{"\xff\x01=\x02 \x03 ember.\xff=1 ember.log=\x1b[2J", standard, []string{
			`ember.log: the value is not a level; expected debug, info, warn or error; using "info"`,
			`"ember.\xff": there is no such`,
		}},
		{"modules=loop,squashfs initrd= intel_iommu=on iommu=pt iommu", standard, nil},
	})
}

func checkParse(t *testing.T, tests []parsing) {
	t.Helper()
	for _, tt := range tests {
		got, errs := Parse(tt.line)
		got.secrets = nil // TestSecrets has them
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Parse(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
		same := len(errs) == len(tt.errs)
		for i := range min(len(errs), len(tt.errs)) {
			same = same && strings.HasPrefix(errs[i].Error(), "kernel parameter "+tt.errs[i])
		}
		if !same {
			t.Errorf("Parse(%q) reports %v, want %q", tt.line, errs, tt.errs)
		}
	}
}

func TestNames(t *testing.T) {
	p := Param{Name: "a_b-c"}
	args := Split("a-b_c=1 a_b_c=2 a-b-c=3 ab-c=4")
	if got := p.given(args); !slices.Equal(got, args[2:3]) {
		t.Errorf("given %+v", got)
	}
	p.Repeats = true
	if got := p.given(args); !slices.Equal(got, args[:3]) {
		t.Errorf("given %+v", got)
	}
}

func TestGroups(t *testing.T) {
	for i, p := range params {
		if p.Name == "" || p.Type == "" || p.Doc == "" {
			t.Errorf("%q is incomplete", p.Name)
		}
		if p.set == nil && (p.Default != "" || p.Repeats || p.secret != nil) {
			t.Errorf("%q is not read, so it has no default, does not repeat and holds no secret", p.Name)
		}
		if slices.ContainsFunc(params[:i], func(q Param) bool { return same(p.Name, q.Name) }) {
			t.Errorf("%q is there twice", p.Name)
		}
	}
	for _, g := range Groups {
		if g.Name == "" || len(g.Params) == 0 {
			t.Errorf("group %q is incomplete", g.Name)
		}
	}
}

// TestLine is everything at once, on the longest line that the kernel takes.
func TestLine(t *testing.T) {
	const wanted = " vlan_id=7 interface=eth1 HTTP_PROXY=p:1 facility=onprem console=ttyS1,115200 ember.bond=b0:eth0 " +
		"console=tty0 worker_id=52:54:00:12:34:56 docker_registry=r.example ember.workload=none last"
	wrong := ""
	for _, p := range params {
		wrong += " " + p.Name + "= " + p.Name + `="a b":;`
	}
	line := strings.Repeat("\xf6", 4096-len(wrong)-len(wanted)) + wrong + wanted
	want := with(func(c *Config) {
		c.VLAN, c.Interface, c.HTTPProxy, c.KernelPanic = 7, "eth1", "p:1", true
		c.Consoles = []Console{{Device: `a b":;`}, {"ttyS1", "115200"}, {Device: "tty0"}}
		c.Bonds = []Bond{{Name: "b0", Members: []string{"eth0"}, Mode: ActiveBackup, Options: map[string]string{"miimon": "100"}}}
		c.Workload = WorkloadNone
		c.Attest = Attest{URL: `a b":;`, Pins: []string{`a b":;`}, OverlayKeys: []string{`a b":;`}}
		c.Tinkerbell = Tinkerbell{
			Registry: "r.example", WorkerID: "52:54:00:12:34:56", Facility: "onprem",
			RegistryUsername: `a b":;`, RegistryPassword: `a b":;`,
		}
	})
	got, errs := Parse(line)
	got.secrets = nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	taken := []string{ // either the last value is good, or any is
		WorkloadParam, InterfaceParam, VLANParam, HTTPProxyParam, RegistryParam, RegistryUsernameParam, RegistryPasswordParam,
		WorkerIDParam, FacilityParam, ConsoleParam, PanicParam, AttestURLParam, AttestPinParam, OverlayKeyParam,
	}
	var wantErrs, gotErrs []string
	for _, p := range params {
		if p.set != nil && !slices.Contains(taken, p.Name) {
			wantErrs = append(wantErrs, p.Name)
		}
	}
	for _, err := range errs {
		gotErrs = append(gotErrs, err.(*Error).Name)
	}
	if !slices.Equal(gotErrs, wantErrs) {
		t.Errorf("reported %q, want %q", gotErrs, wantErrs)
	}
}

func TestRead(t *testing.T) {
	line, err := os.ReadFile(Path)
	if err != nil {
		t.Skip(err)
	}
	want, wantErrs := Parse(string(line))
	got, errs, err := Read()
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(errs, wantErrs) {
		t.Errorf("got %+v, %v, %v", got, errs, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a="b c" "d=e f" ember.debug=shell,x ember.log= console=ttyS0,115200 "`)
	f.Add("BOOTIF=01-52-54-00-12-34-56 hw_addr=52:54:00:12:34:57 interface=eth0 vlan_id=12")
	f.Add("ipam=52-54-00-12-34-56:12:192.0.2.10:255.255.255.0:192.0.2.1:node1:192.0.2.53:example.com:[2001:db8::1]")
	f.Add("ember.bond=bond0:52-54-00-12-34-56,eth1:mode=802.3ad,lacp_rate=1,primary=eth1:9000 ember.bond=bond0:eth0")
	f.Add("syslog_host=[2001:db8::1] syslog_port=6514 ember.syslog=tls ember.ntp=none ember.ntp=192.0.2.1,ntp.example.com")
	f.Add("HTTP_PROXY=http://user:pass%20word@proxy:3128 HTTPS_PROXY=proxy NO_PROXY=.example.com,10.0.0.0/8,*")
	f.Add("ember.mirror=docker.io=https://a/b,c:5000 ember.containers=512M ember.scratch=SERIAL=x ember.scratch=/dev/sda")
	f.Add("facility= grpc_authority=192.0.2.1:42113 tinkerbell_tls=TRUE worker_id=x insecure_registries=a:5000,b docker_registry=a/b")
	f.Fuzz(func(t *testing.T, line string) {
		c, errs := Parse(line)
		for _, a := range Split(line) {
			if a.Bare && a.Value != "" || !a.Bare && a.Name == "" {
				t.Errorf("impossible argument %+v", a)
			}
		}
		for _, err := range errs {
			if _, ok := err.(*Error); !ok {
				t.Errorf("%v is no *Error", err)
			}
			if !isPlain(strings.ReplaceAll(err.Error(), " ", "")) {
				t.Errorf("%q can not be printed", err)
			}
		}
		checkConfig(t, c)

		const secret = "hunter2.hunter2"
		if strings.Contains(line, "\x00") || strings.Contains(line, secret) {
			return
		}
		again, errs := Parse(line + " registry_password=" + secret)
		if !slices.ContainsFunc(again.Secrets(), func(s string) bool { return strings.Contains(s, secret) }) {
			t.Errorf("the secret behind %q is not known", line)
		}
		for _, err := range errs {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%v shows a secret", err)
			}
		}
		again, _ = Parse(line + " ember.workload=none")
		if strings.Count(line, `"`) == 0 && again.EffectiveWorkload() != WorkloadNone {
			t.Errorf("the last value does not count behind %q", line)
		}
	})
}

// checkConfig checks what those who use a Config rely on.
func checkConfig(t *testing.T, c Config) {
	t.Helper()
	if c.HWAddr != nil && len(c.HWAddr) != 6 {
		t.Errorf("HWAddr %v", c.HWAddr)
	}
	if c.VLAN < 0 || c.VLAN > 4094 || c.Syslog.Port < 1 || c.Syslog.Port > 65535 || c.NTPOff && c.NTP != nil {
		t.Errorf("VLAN %d, Syslog %+v, NTP %q, NTPOff %v", c.VLAN, c.Syslog, c.NTP, c.NTPOff)
	}
	if i := c.IPAM; i != nil {
		if len(i.MAC) != 6 || !i.Address.IsValid() || i.Address.Bits() == 0 || i.VLAN < 0 || i.VLAN > 4094 ||
			i.Gateway.IsValid() && i.Gateway.Is4() != i.Address.Addr().Is4() || len(i.Hostname) > 64 {
			t.Errorf("IPAM %+v", i)
		}
	}
	members := map[string]bool{}
	names := map[string]bool{}
	for _, b := range c.Bonds {
		if names[b.Name] || len(b.Members) == 0 || b.Mode != ActiveBackup && b.Mode != LACP || b.Options["miimon"] == "" {
			t.Errorf("bond %+v", b)
		}
		names[b.Name] = true
		for _, m := range b.Members {
			if members[m] || m == b.Name {
				t.Errorf("member %s twice in %+v", m, c.Bonds)
			}
			members[m] = true
		}
	}
	for _, text := range append(c.ProxyEnviron(), c.Syslog.Host, c.Interface, c.Tinkerbell.WorkerID, c.Tinkerbell.GRPCAuthority) {
		if strings.ContainsAny(text, "\n\x00") {
			t.Errorf("%q is in more than one line", text)
		}
	}
	registries := map[string]bool{}
	for _, m := range c.Containers.Mirrors {
		if registries[m.Registry] || m.Registry == "" || len(m.URLs) == 0 || !isPlain(m.Registry+strings.Join(m.URLs, "")) {
			t.Errorf("mirror %+v", m)
		}
		registries[m.Registry] = true
	}
	if d := c.Containers.Scratch; c.Containers.Memory == "" || d.Value == "" && d.Tag != "" || d.Tag == "" && d.Value != "" && !strings.HasPrefix(d.Value, "/dev/") {
		t.Errorf("containers %+v", c.Containers)
	}
	for _, s := range c.Secrets() {
		if s == "" {
			t.Error("nothing is a secret")
		}
	}
}

// FuzzSplit checks that quoting gives back any name and value that can be quoted.
func FuzzSplit(f *testing.F) {
	f.Add("name", "a value", "other")
	f.Fuzz(func(t *testing.T, name, value, after string) {
		plain := func(r rune) bool { return r == '"' || r == 0 || r == '=' || r < 256 && isSpace(byte(r)) }
		if name == "" || strings.ContainsFunc(name+after, plain) || strings.IndexByte(name+after, 0xa0) >= 0 ||
			strings.ContainsAny(value, "\"\x00") || after == "" {
			t.Skip()
		}
		want := []Arg{{Name: name, Value: value}, {Name: after, Bare: true}}
		for _, line := range []string{name + `="` + value + `" ` + after, `"` + name + "=" + value + `"` + "\n" + after} {
			if got := Split(line); !slices.Equal(got, want) {
				t.Errorf("Split(%q) = %+v, want %+v", line, got, want)
			}
		}
	})
}
