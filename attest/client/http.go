package client

import (
	"crypto/tls"
	"errors"
	"net/http"
)

// Client speaks with the server of c.URL, and with no other, as the machine of that certificate; nil is
// nobody. It does not follow redirects.
func (c Config) Client(certificate *tls.Certificate) *http.Client {
	if c.limits == (limits{}) {
		c.limits = defaults
	}
	name := ""
	if server, err := ParseURL(c.URL); err == nil {
		name = server.Hostname()
	}
	transport := c.transport(name)
	if certificate != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
	}
	return &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a redirect, which is not followed")
		},
	}
}
