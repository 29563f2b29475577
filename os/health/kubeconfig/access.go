package kubeconfig

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/ember-os/ember/os/textfile"
)

// Access is a server, and how to be known to it.
type Access struct {
	Server *url.URL // https, without a slash at the end
	Node   string   // the node as which the client certificate makes us known; "" for none

	token string
	tls   *tls.Config
	proxy func(*http.Request) (*url.URL, error)
}

// nodeUser is what comes before the name of a node in that of its user, see "Using Node Authorization" in Kubernetes'
// documentation.
const nodeUser = "system:node:"

func access(dir string, c *cluster, u *user) (*Access, error) {
	server, err := url.Parse(c.Server)
	switch {
	case c.Server == "":
		return nil, errors.New("the cluster has no server")
	case err != nil || server.Host == "" || server.User != nil || server.RawQuery != "" || server.Fragment != "":
		return nil, fmt.Errorf("the server %.200q is not a URL", c.Server)
	case server.Scheme != "https":
		return nil, fmt.Errorf("the server %.200q is not reached with https, so anybody could answer", c.Server)
	case c.Insecure:
		return nil, errors.New("insecure-skip-tls-verify is set, so anybody could answer")
	}
	server.Path = strings.TrimRight(server.Path, "/")
	a := &Access{Server: server, tls: &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}, proxy: http.ProxyFromEnvironment}
	if c.Proxy != "" {
		proxy, err := url.Parse(c.Proxy)
		if err != nil || proxy.Host == "" {
			return nil, errors.New("proxy-url is not a URL") // it may have a password
		}
		a.proxy = http.ProxyURL(proxy)
	}
	if err := a.authority(dir, c); err != nil {
		return nil, err
	}
	return a, a.identity(dir, u)
}

// authority has the server's certificate checked. Without an authority of its own those of the machine are taken.
func (a *Access) authority(dir string, c *cluster) error {
	text, err := contents(dir, "certificate-authority", c.Authority, c.AuthorityData)
	if err != nil || text == nil {
		return err
	}
	a.tls.RootCAs = x509.NewCertPool()
	if !a.tls.RootCAs.AppendCertsFromPEM(text) {
		return errors.New("certificate-authority has no certificate in PEM")
	}
	return nil
}

func (a *Access) identity(dir string, u *user) error {
	switch {
	case u.Exec != nil:
		return errors.New("exec is not supported: name a client certificate or a token")
	case u.AuthProvider != nil:
		return errors.New("auth-provider is not supported: name a client certificate or a token")
	case u.Username != "" || u.Password != "":
		return errors.New("username and password are not supported: name a client certificate or a token")
	case u.As != "":
		return errors.New("as is not supported: name a user of its own")
	}
	certificate, err := contents(dir, "client-certificate", u.Certificate, u.CertificateData)
	if err != nil {
		return err
	}
	key, err := contents(dir, "client-key", u.Key, u.KeyData)
	if err != nil {
		return err
	}
	token := []byte(u.Token)
	if u.TokenFile != "" {
		if token, err = contents(dir, "tokenFile", u.TokenFile, ""); err != nil {
			return err
		}
	}
	if strings.ContainsFunc(string(token), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has characters that no token has")
	}
	a.token = string(token)
	if certificate == nil && key == nil {
		if a.token == "" {
			return errors.New("the user has neither a client certificate nor a token")
		}
		return nil
	}
	return a.certificate(certificate, key)
}

func (a *Access) certificate(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("taking the client certificate and its key: %w", err)
	}
	if now := time.Now(); now.After(pair.Leaf.NotAfter) {
		return fmt.Errorf("the client certificate has expired on %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	a.tls.Certificates = []tls.Certificate{pair}
	if name, ok := strings.CutPrefix(pair.Leaf.Subject.CommonName, nodeUser); ok {
		a.Node = name
	}
	return nil
}

// contents is what is given as data, or else what is in a file; nil for neither.
func contents(dir, what, path, data string) ([]byte, error) {
	if data != "" {
		text, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data is not base64", what) // it may be a key
		}
		return text, nil
	}
	if path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	text, err := textfile.Read(path, longest)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	return bytes.TrimSpace(text), nil
}

// Client makes a client for the server, which follows no redirects. Its idle connections are the caller's to close.
func (a *Access) Client() *http.Client {
	return &http.Client{
		Transport: transport{a.token, a.Server, &http.Transport{Proxy: a.proxy, TLSClientConfig: a.tls.Clone(), MaxResponseHeaderBytes: 64 << 10}},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// transport adds the token to requests for the server.
type transport struct {
	token  string
	server *url.URL
	*http.Transport
}

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token != "" && r.URL.Host == t.server.Host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.Transport.RoundTrip(r)
}
