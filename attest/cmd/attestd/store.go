package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/store/bolt"
	"github.com/ember-os/ember/attest/store/etcd"
)

// sharedStore is where servers keep what they share, if that is not in the data folder.
type sharedStore struct {
	Etcd etcdStore `yaml:"etcd"`
}

type etcdStore struct {
	Endpoints    []string `yaml:"endpoints"`
	Prefix       string   `yaml:"prefix"`
	TLS          etcdTLS  `yaml:"tls"`
	Username     string   `yaml:"username"`
	PasswordFile string   `yaml:"passwordFile"`
}

type etcdTLS struct {
	Authority   string `yaml:"authority"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

const defaultPrefix = "/ember/attestd/"

func (e *etcdStore) check() error {
	if len(e.Endpoints) == 0 {
		if e.Prefix != defaultPrefix || e.TLS != (etcdTLS{}) || e.Username != "" || e.PasswordFile != "" {
			return errors.New("endpoints is missing")
		}
		return nil
	}
	scheme := ""
	for _, text := range e.Endpoints {
		u, err := url.Parse(text)
		switch {
		case err != nil || u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "unix":
			return fmt.Errorf("endpoint %q is not of the form https://HOST:PORT, http://HOST:PORT or unix:///PATH", text)
		case u.Scheme != "unix" && (u.Port() == "" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != ""):
			return fmt.Errorf("endpoint %q is not of the form %s://HOST:PORT", text, u.Scheme)
		case u.Scheme == "unix" && (u.Host != "" || u.Path == ""):
			return fmt.Errorf("endpoint %q is not of the form unix:///PATH", text)
		case scheme != "" && u.Scheme != scheme:
			return fmt.Errorf("endpoints are of both %s and %s", scheme, u.Scheme)
		}
		scheme = u.Scheme
	}
	switch {
	case e.TLS != (etcdTLS{}) && scheme != "https":
		return fmt.Errorf("tls is given, but endpoints begin with %s://", scheme)
	case (e.TLS.Certificate == "") != (e.TLS.Key == ""):
		return errors.New("tls needs both certificate and key")
	case (e.Username == "") != (e.PasswordFile == ""):
		return errors.New("username and passwordFile need each other")
	case !strings.HasSuffix(e.Prefix, "/"):
		return fmt.Errorf("prefix is %q, which does not end with /", e.Prefix)
	}
	return nil
}

// openStore opens the store in the data folder, or the one in etcd.
func openStore(ctx context.Context, c *config, log *slog.Logger) (store.Store, error) {
	e := c.Store.Etcd
	if len(e.Endpoints) == 0 {
		s, err := bolt.Open(filepath.Join(c.Data, storeFile))
		if err != nil {
			return nil, err // not a nil pointer, which is no nil store.Store
		}
		return s, nil
	}
	settings, err := e.settings()
	if err != nil {
		return nil, err
	}
	settings.Log = log
	lock, err := lockFolder(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	s, err := etcd.Open(ctx, settings)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return locked{s, lock}, nil
}

// settings reads the files.
func (e *etcdStore) settings() (etcd.Config, error) {
	c := etcd.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, Username: e.Username}
	if e.PasswordFile != "" {
		b, err := os.ReadFile(e.PasswordFile)
		if err != nil {
			return c, fmt.Errorf("reading etcd's password: %w", err)
		}
		if c.Password = string(bytes.TrimRight(b, "\r\n")); c.Password == "" {
			return c, fmt.Errorf("reading etcd's password: %s is empty", e.PasswordFile)
		}
	}
	if !strings.HasPrefix(e.Endpoints[0], "https:") {
		return c, nil
	}
	c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if e.TLS.Authority != "" {
		b, err := os.ReadFile(e.TLS.Authority)
		if err != nil {
			return c, fmt.Errorf("reading the authority of etcd's certificates: %w", err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(b) {
			return c, fmt.Errorf("reading the authority of etcd's certificates: %s has no certificate in PEM", e.TLS.Authority)
		}
	}
	if e.TLS.Certificate == "" {
		return c, nil
	}
	read := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(e.TLS.Certificate, e.TLS.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for etcd: %w", err)
		}
		return &pair, nil
	}
	// Each connection takes the files as they are then, so that a certificate can be renewed.
	c.TLS.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	_, err := read()
	return c, err
}

// locked has the data folder to itself, as a store in it would.
type locked struct {
	*etcd.Store
	folder *os.File
}

// Close ends the lock as well.
func (l locked) Close() error { return errors.Join(l.Store.Close(), l.folder.Close()) }

// lockPatience is how long a server that is being replaced is waited for.
const lockPatience = 3 * time.Second

func lockFolder(ctx context.Context, path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	for end := time.Now().Add(lockPatience); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) || ctx.Err() != nil || time.Now().After(end) {
			f.Close()
			return nil, fmt.Errorf("locking the data folder: another process has %s: %w", path, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
