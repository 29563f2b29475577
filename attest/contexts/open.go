package contexts

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/ember-os/ember/attest/admin"
	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/operator"
)

// unix is how the address of a unix socket begins.
const unix = "unix:"

// Local tells whether the server is at a unix socket, for which neither trust nor an operator's key is needed.
func (c Context) Local() bool { return strings.HasPrefix(c.Server, unix) }

// Open makes the client of a context. Nothing is sent yet.
func (c Context) Open() (*admin.Client, error) {
	if c.Server == "" {
		return nil, errors.New("no attestation server is given: make a context with emberctl context set, or give --server")
	}
	if path, ok := strings.CutPrefix(c.Server, unix); ok {
		return admin.Unix(path), nil
	}
	server, err := ParseServer(c.Server)
	if err != nil {
		return nil, err
	}
	trust, err := c.trust()
	if err != nil {
		return nil, err
	}
	if c.Operator == "" {
		return nil, fmt.Errorf("no operator's key is given for %s: make one with emberctl keygen --operator, and name it with --operator or in the context", c.Server)
	}
	identity, err := operator.ReadIdentity(c.Operator)
	if err != nil {
		return nil, err
	}
	return admin.Remote(server, trust, identity), nil
}

// Check is the error of what Open would not take, but for files.
func (c Context) Check() error {
	switch path, local := strings.CutPrefix(c.Server, unix); {
	case local && path == "":
		return errors.New("the server is unix: without a path")
	case local:
		return nil
	}
	if _, err := ParseServer(c.Server); err != nil {
		return err
	}
	if c.Pin != "" {
		if c.CA != "" {
			return errors.New("a server is told by its pin or by an authority, not both")
		}
		_, err := client.ParsePin(c.Pin)
		return err
	}
	return nil
}

// ParseServer reads the address of a server.
func ParseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the server %q is not of the form https://HOST:PORT or unix:PATH", text)
	}
	return u, nil
}

func (c Context) trust() (client.Trust, error) {
	switch {
	case c.Pin != "" && c.CA != "":
		return client.Trust{}, errors.New("a server is told by its pin or by an authority, not both: give --pin or --ca")
	case c.Pin != "":
		pin, err := client.ParsePin(c.Pin)
		return client.Trust{Pins: []client.Pin{pin}}, err
	case c.CA != "":
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return client.Trust{}, fmt.Errorf("reading the authorities of the server: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(b) {
			return client.Trust{}, fmt.Errorf("reading the authorities of the server: %s has no certificate in PEM", c.CA)
		}
		return client.Trust{Roots: pool}, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return client.Trust{}, fmt.Errorf("reading this computer's authorities: %w", err)
	}
	return client.Trust{Roots: pool}, nil
}
