package operator

import (
	"crypto/tls"
	"errors"
)

// Require makes a server's configuration one for operators only: of the set that current gives, when they
// connect. What a connection may do later is for Known to say, with each request.
func Require(c *tls.Config, current func() Set) *tls.Config {
	c = c.Clone()
	c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, nil
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if current().Known(&state) == "" {
			return errors.New("the key is no operator's")
		}
		return nil
	}
	return c
}

// Known is the operator at the other end of a connection, and "" if there is none, or none any longer.
func (s Set) Known(state *tls.ConnectionState) string {
	if state == nil || len(state.PeerCertificates) == 0 {
		return ""
	}
	return s.Name(state.PeerCertificates[0])
}
