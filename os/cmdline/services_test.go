package cmdline

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSyslog(t *testing.T) {
	syslog := func(s Syslog) Config { return with(func(c *Config) { c.Syslog = s }) }
	checkParse(t, []parsing{
		{"syslog_host=192.0.2.1", syslog(Syslog{"192.0.2.1", 514, UDP}), nil},
		{"syslog_host=log.example.com. syslog_port=5514", syslog(Syslog{"log.example.com.", 5514, UDP}), nil},
		{"syslog_port=5514 ember.syslog=tls syslog_host=[2001:DB8::1]", syslog(Syslog{"2001:db8::1", 5514, TLS}), nil},
		{"ember.syslog=tls syslog_host=2001:db8::1", syslog(Syslog{"2001:db8::1", 6514, TLS}), nil},
		{"ember.syslog=tls ember.syslog=tcp syslog_host=log_1", syslog(Syslog{"log_1", 514, TCP}), nil},
		{"ember.syslog=tls syslog_port=0 syslog_host=a", syslog(Syslog{"a", 6514, TLS}), []string{`syslog_port: "0" is not a number from 1 to 65535`}},
		{"ember.syslog=relp", standard, []string{`ember.syslog: "relp" is not one of them; expected udp, tcp or tls; using "udp"`}},
		{"syslog_host=10.0.0.256", standard, []string{`syslog_host: "10.0.0.256" is not the name or IP address of a host`}},
		{"syslog_host=a:514", standard, []string{"syslog_host: "}},
		{"syslog_host=0.0.0.0", standard, []string{"syslog_host: "}},
		{"syslog_host=a..b", standard, []string{"syslog_host: "}},
		{"syslog_host=" + longest + ".example", syslog(Syslog{longest + ".example", 514, UDP}), nil},
		{"syslog_host=" + longest + "a", standard, []string{"syslog_host: "}},
		{"syslog_host=" + strings.Repeat(longest+".", 4) + "a", standard, []string{"syslog_host: "}},
	})
}

func TestNTP(t *testing.T) {
	servers := func(list ...string) Config { return with(func(c *Config) { c.NTP = list }) }
	checkParse(t, []parsing{
		{"ember.ntp=192.0.2.1", servers("192.0.2.1"), nil},
		{"ember.ntp=ntp1.example.com,[2001:db8::1],2001:db8::2,", servers("ntp1.example.com", "2001:db8::1", "2001:db8::2"), nil},
		{"ember.ntp=none", with(func(c *Config) { c.NTP, c.NTPOff = nil, true }), nil},
		{"ember.ntp=none ember.ntp=a", servers("a"), nil},
		{"ember.ntp=none ember.ntp=dhcp", with(func(c *Config) { c.NTP = nil }), nil},
		{"ember.ntp=a ember.ntp=none ember.ntp=", standard, nil},
		{"ember.ntp=a,b/c", standard, []string{`ember.ntp: "b/c" is not the name or IP address of a host; expected `}},
	})
}

func TestLKG(t *testing.T) {
	limits := func(l map[string]time.Duration) Config { return with(func(c *Config) { c.LKG.Limits = l }) }
	const wrong = "one of them with a time up to 24h0m0s"
	checkParse(t, []parsing{
		{"ember.lkg=on", with(func(c *Config) { c.LKG.Mode = LKGOn }), nil},
		{"ember.lkg=on ember.lkg=disk", with(func(c *Config) { c.LKG.Mode = LKGDisk }), nil},
		{"ember.lkg_url=a.example/uki.efi", with(func(c *Config) {}), []string{`ember.lkg_url: "a.example/uki.efi" is not a URL that begins with http:// or https://`}},
		{"ember.lkg_url=ftp://u:secret@a.example", with(func(c *Config) {}), []string{"ember.lkg_url: the value is not a URL that begins with http:// or https://"}},
		{"ember.lkg_url=http://a.example/uki.efi", with(func(c *Config) { c.LKG.URL = "http://a.example/uki.efi" }), nil},
		{"ember.lkg=auto", standard, []string{`ember.lkg: "auto" is not one of them; expected off, on or disk; using "off"`}},
		{"ember.lkg_limits=start:30m,,hold:500ms,start:1h", limits(map[string]time.Duration{"start": time.Hour, "hold": 500 * time.Millisecond}), nil},
		{"ember.lkg_limits=start:30m,end:1m", standard, []string{`ember.lkg_limits: "end:1m" is not ` + wrong}},
		{"ember.lkg_limits=start", standard, []string{`ember.lkg_limits: "start" is not ` + wrong}},
		{"ember.lkg_limits=start:0s", standard, []string{`ember.lkg_limits: "start:0s" is not ` + wrong}},
		{"ember.lkg_limits=start:25h", standard, []string{`ember.lkg_limits: "start:25h" is not ` + wrong}},
	})
}

func TestTinkerbell(t *testing.T) {
	tinkerbell := func(f func(*Tinkerbell)) Config { return with(func(c *Config) { f(&c.Tinkerbell) }) }
	checkParse(t, []parsing{
		// What the network-boot server sends.
		{"vlan_id=12 facility=onprem syslog_host=192.0.2.1 grpc_authority=192.0.2.1:42113 tinkerbell_tls=false tinkerbell_insecure_tls=false " +
			"worker_id=52:54:00:12:34:56 hw_addr=52:54:00:12:34:56 modules=loop,squashfs,sd-mod,usb-storage intel_iommu=on iommu=pt " +
			"initrd=initramfs-x86_64 console=tty0 console=ttyS1,115200 docker_registry=192.0.2.1:5000/tink insecure_registries=192.0.2.1:5000",
			with(func(c *Config) {
				c.VLAN, c.HWAddr, c.Syslog.Host = 12, card, "192.0.2.1"
				c.Consoles = []Console{{Device: "tty0"}, {"ttyS1", "115200"}}
				c.Tinkerbell = Tinkerbell{
					Registry: "192.0.2.1:5000/tink", InsecureRegistries: []string{"192.0.2.1:5000"},
					GRPCAuthority: "192.0.2.1:42113", WorkerID: "52:54:00:12:34:56", Facility: "onprem",
				}
			}), nil},
		{"facility=onprem console=ttyS1,115200", with(func(c *Config) {
			c.Tinkerbell.Facility, c.Consoles = "onprem", []Console{{"ttyS1", "115200"}}
		}), nil},
		{`facility="onprem console=ttyS1,115200"`, tinkerbell(func(b *Tinkerbell) { b.Facility = "onprem console=ttyS1,115200" }), nil},
		{"tinkerbell_tls=TRUE tinkerbell_insecure_tls=1", tinkerbell(func(b *Tinkerbell) { b.TLS, b.InsecureTLS = true, true }), nil},
		{"tinkerbell-tls=On tinkerbell_insecure-tls=yes", tinkerbell(func(b *Tinkerbell) { b.TLS, b.InsecureTLS = true, true }), nil},
		{"tinkerbell_tls=t tinkerbell_tls=off tinkerbell_insecure_tls=no", standard, nil},
		{"tinkerbell_tls=1 tinkerbell_tls=maybe", standard, []string{`tinkerbell_tls: "maybe" is not true or false; expected true or false (or 1, 0,`}},
		{"tinkerbell_tls", standard, []string{"tinkerbell_tls: it needs a value"}},
		{"Worker_ID=a DOCKER_REGISTRY=b Registry_Password=c", standard, nil},
		{"tink_worker_image=docker.io/a/b:v1@sha256:0123", tinkerbell(func(b *Tinkerbell) { b.WorkerImage = "docker.io/a/b:v1@sha256:0123" }), nil},
		{`tink_worker_image="a b"`, standard, []string{"tink_worker_image: the value is not a word"}},
		{"docker_registry=[2001:db8::1]:5000/", tinkerbell(func(b *Tinkerbell) { b.Registry = "[2001:db8::1]:5000" }), nil},
		{"docker_registry=https://r.example", standard, []string{`docker_registry: "https://r.example" is not the address of a registry`}},
		{"docker_registry=user:secret@r.example", standard, []string{"docker_registry: the value is not the address of a registry"}},
		{"insecure_registries=a:5000,b,[2001:db8::1]:80,2001:db8::2", tinkerbell(func(b *Tinkerbell) {
			b.InsecureRegistries = []string{"a:5000", "b", "[2001:db8::1]:80", "2001:db8::2"}
		}), nil},
		{"insecure_registries=a:99999", standard, []string{`insecure_registries: "a:99999" is not HOST or HOST:PORT`}},
		{"grpc_authority=tink.example.com", tinkerbell(func(b *Tinkerbell) { b.GRPCAuthority = "tink.example.com" }), nil},
		{"grpc_authority=1:2:3:4:5:6:7:8:42113", standard, []string{"grpc_authority: "}},
		{"grpc_authority=:42113", standard, []string{"grpc_authority: "}},
		{"grpc_authority=a:", standard, []string{"grpc_authority: "}},
		{"registry_username=us\xfcr worker_id=\x01", standard, []string{"registry_username: the value is not text", "worker_id: the value is not"}},
		{`registry_username="J Ünger" registry_password="a=b c"`, tinkerbell(func(b *Tinkerbell) {
			b.RegistryUsername, b.RegistryPassword = "J Ünger", "a=b c"
		}), nil},
	})
}

func TestEffectiveWorkload(t *testing.T) {
	for line, want := range map[string]Workload{
		"":                          WorkloadServices,
		"worker_id=a facility=b":    WorkloadServices,
		"docker_registry=":          WorkloadServices,
		"docker_registry=a":         WorkloadTinkerbell,
		"tink_worker_image=a":       WorkloadTinkerbell,
		"ember.workload=tinkerbell": WorkloadTinkerbell,
		"ember.workload=wrong":      WorkloadServices,
		"docker_registry=/":         WorkloadServices,
		"tink_worker_image=a ember.workload=services": WorkloadServices,
		"tink_worker_image=a ember.workload=none":     WorkloadNone,
	} {
		if c, _ := Parse(line); c.EffectiveWorkload() != want {
			t.Errorf("%q gives %s, want %s", line, c.EffectiveWorkload(), want)
		}
	}
}

func TestProxies(t *testing.T) {
	const wrong = "the value is not the address of a proxy; expected URL, or HOST:PORT; ignored"
	checkParse(t, []parsing{
		{"HTTP_PROXY=http://proxy.example.com:3128/", with(func(c *Config) { c.HTTPProxy = "http://proxy.example.com:3128/" }), nil},
		{"HTTPS_PROXY=proxy:3128", with(func(c *Config) { c.HTTPSProxy = "proxy:3128" }), nil},
		{"HTTPS_PROXY=socks5h://u:p%40@[2001:db8::1]:1080", with(func(c *Config) { c.HTTPSProxy = "socks5h://u:p%40@[2001:db8::1]:1080" }), nil},
		{"HTTPS-PROXY=https://192.0.2.1", with(func(c *Config) { c.HTTPSProxy = "https://192.0.2.1" }), nil},
		{"http_proxy=a:1 https_proxy=b:1 no_proxy=c Http_Proxy=d:1", standard, nil},
		{"HTTP_PROXY=ftp://u:secret@proxy", standard, []string{"HTTP_PROXY: " + wrong}},
		{"HTTP_PROXY=http://u:sec#ret@proxy HTTPS_PROXY=u:secret@proxy:port", standard, []string{"HTTP_PROXY: " + wrong, "HTTPS_PROXY: " + wrong}},
		{"HTTP_PROXY=http:// HTTPS_PROXY=http://proxy/path?secret", standard, []string{"HTTP_PROXY: " + wrong, "HTTPS_PROXY: " + wrong}},
		{`NO_PROXY="localhost, .example.com,*.example.org,10.0.0.0/8,192.0.2.1:80,2001:db8::/32,[2001:db8::1]:80,*"`, with(func(c *Config) {
			c.NoProxy = "localhost, .example.com,*.example.org,10.0.0.0/8,192.0.2.1:80,2001:db8::/32,[2001:db8::1]:80,*"
		}), nil},
		{"NO_PROXY=10.0.0.0/33", standard, []string{"NO_PROXY: the value is not a list of"}},
	})
}

func TestProxyEnviron(t *testing.T) {
	for line, want := range map[string][]string{
		"":                nil,
		"HTTP_PROXY=p:1":  {"HTTP_PROXY=p:1", "http_proxy=p:1"},
		"HTTPS_PROXY=p:1": {"HTTPS_PROXY=p:1", "https_proxy=p:1"},
		"NO_PROXY=* HTTPS_PROXY=q:1 HTTP_PROXY=p:1": {
			"HTTP_PROXY=p:1", "http_proxy=p:1", "HTTPS_PROXY=q:1", "https_proxy=q:1", "NO_PROXY=*", "no_proxy=*",
		},
	} {
		if c, _ := Parse(line); !slices.Equal(c.ProxyEnviron(), want) {
			t.Errorf("%q gives %q, want %q", line, c.ProxyEnviron(), want)
		}
	}
}

func TestSecrets(t *testing.T) {
	for line, want := range map[string][]string{
		"quiet registry_username=u HTTP_PROXY=p:1":      nil,
		"registry_password= registry_password":          nil,
		"registry_password=abc":                         {"abc"},
		"registry-password=ab registry_password=c":      {"ab", "c"},
		`registry_password="a b"`:                       {"a b"},
		"registry_password=a\"b":                        {`a\"b`, `a"b`, "a"},
		`quiet="x registry_password=abc def`:            {"abc"},
		"HTTP_PROXY=http://u:abc@p HTTPS_PROXY=u:abc@p": {"abc"},
		"HTTP_PROXY=http://u:a%3Ac@p":                   {"a%3Ac", "a:c"},
		"HTTPS_PROXY=token@p":                           {"token"},
		"HTTPS_PROXY=ftp://u:a@b:c%@p":                  {"a@b:c%"},
		"HTTP_PROXY=u:wrong@p HTTP_PROXY=p:1":           {"wrong"},
		"docker_registry=u:abc@r/p docker_registry=r":   {"abc"},
		"ember.lkg_url=http://u:abc@p":                  {"abc"},
		"ember.mirror=a=b,https://c":                    nil,
		"ember.mirror=https://u:abc@b":                  {"abc"},
		"ember.mirror=a=https://u:abc@b":                {"abc"},
		"ember.mirror=a=b,u:abc@c,https://d":            {"abc"},
		"ember.mirror=a=https://u:a,c@b":                {"a,c", "c"},
		"ember.mirror=a=u:abc@b,u:def@c":                {"abc@b,u:def", "abc", "def"},
	} {
		if c, _ := Parse(line); !slices.Equal(c.Secrets(), want) {
			t.Errorf("%q gives %q, want %q", line, c.Secrets(), want)
		}
	}
}
