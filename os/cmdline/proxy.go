package cmdline

import (
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// The proxies' parameters. Other spellings, as http_proxy, are not read.
const (
	HTTPProxyParam  = "HTTP_PROXY"
	HTTPSProxyParam = "HTTPS_PROXY"
	NoProxyParam    = "NO_PROXY"
)

const proxyType = "URL, or HOST:PORT"

var proxyParams = []Param{{
	Name:   HTTPProxyParam,
	Type:   proxyType,
	Doc:    "The proxy for HTTP, in every service's environment. Its password is kept out of logs.",
	set:    into(func(c *Config) *string { return &c.HTTPProxy }, proxy),
	secret: passwords,
}, {
	Name:   HTTPSProxyParam,
	Type:   proxyType,
	Doc:    "The same for HTTPS.",
	set:    into(func(c *Config) *string { return &c.HTTPSProxy }, proxy),
	secret: passwords,
}, {
	Name: NoProxyParam,
	Type: "list of names, domains, IP addresses and networks (192.0.2.0/24), separated by commas; * for all",
	Doc:  "What is reached without a proxy.",
	set:  into(func(c *Config) *string { return &c.NoProxy }, noProxy),
}}

// ProxyEnviron is the variables that tell programs of the proxies, those that are
// set only. Each has its twin in lower case: some programs read only that one.
func (c Config) ProxyEnviron() []string {
	var environ []string
	for _, v := range []struct{ name, value string }{
		{HTTPProxyParam, c.HTTPProxy},
		{HTTPSProxyParam, c.HTTPSProxy},
		{NoProxyParam, c.NoProxy},
	} {
		if v.value != "" {
			environ = append(environ, v.name+"="+v.value, strings.ToLower(v.name)+"="+v.value)
		}
	}
	return environ
}

// proxy accepts what curl and Go's HTTP client do. Its error never shows the value.
func proxy(value string) (string, error) {
	u, err := url.Parse(withScheme(value))
	if err == nil && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) &&
		(u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" {
		if _, err := authority(u.Host); err == nil {
			return value, nil
		}
	}
	return "", errors.New("the value is not the address of a proxy")
}

func withScheme(value string) string {
	if !strings.Contains(value, "://") {
		return "http://" + value
	}
	return value
}

// passwords is the password in a URL, as it is written and as it is meant. A user
// without a password may be a token, which is the same.
func passwords(value string) []string {
	_, rest, _ := strings.Cut(withScheme(value), "://")
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return nil
	}
	user, password, ok := strings.Cut(rest[:at], ":")
	if !ok {
		password = user
	}
	meant, err := url.PathUnescape(password)
	if err != nil {
		meant = password
	}
	return []string{password, meant}
}

// noProxy accepts what Go's HTTP client does, which is more than others.
func noProxy(value string) (string, error) {
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		if item == "" || item == "*" {
			continue
		}
		_, networkErr := netip.ParsePrefix(item)
		_, err := authority(strings.TrimPrefix(strings.TrimPrefix(item, "*"), "."))
		if err != nil && networkErr != nil {
			return "", errors.New("the value is not a list of hosts, domains and networks")
		}
	}
	return value, nil
}
