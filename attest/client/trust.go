package client

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Trust is how a server proves that it is the right one.
//
// With Roots its certificate must be of one of these authorities, for its name and valid now. With Pins one
// of the certificates that it shows must have one of these keys. With both it needs both, but for the date: see
// Clock. With Pins alone a server's own key is enough, whatever its certificate says; where the pinned key is
// that of an authority, its certificate takes the place of Roots.
type Trust struct {
	Roots *x509.CertPool
	Pins  []Pin
}

// Pin is the SHA-256 of a key's SubjectPublicKeyInfo (RFC 7469, 2.4).
type Pin [sha256.Size]byte

// PinOf is the pin of a certificate's key.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

const pinPrefix = "sha256:"

// String is ParsePin's first form.
func (p Pin) String() string { return pinPrefix + base64.RawURLEncoding.EncodeToString(p[:]) }

// ParsePin reads "sha256:" and the base64 of a pin, of either alphabet, with or without padding, or 64
// hexadecimal digits, with "sha256:" before them or not.
func ParsePin(s string) (p Pin, err error) {
	text, named := strings.CutPrefix(s, pinPrefix)
	b, err := hex.DecodeString(text)
	if (err != nil || len(b) != len(p)) && named {
		text = strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(text, "="))
		b, err = base64.RawURLEncoding.Strict().DecodeString(text)
	}
	if err != nil || len(b) != len(p) {
		return Pin{}, errors.New("a pin is sha256: and the base64 of 32 bytes, or 64 hexadecimal digits")
	}
	return Pin(b), nil
}

func (t Trust) pinned(c *x509.Certificate) bool { return slices.Contains(t.Pins, PinOf(c)) }

// TLS gives a configuration for the server of that name, a DNS name or an IP address: TLS 1.3, without
// resumption.
func (t Trust) TLS(name string, clock Clock) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		ServerName:             name,
		SessionTicketsDisabled: true,
		InsecureSkipVerify:     true, // VerifyConnection does it
		// The server needs all of a request before it can begin, so small records gain nothing.
		DynamicRecordSizingDisabled: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			return t.verify(cs.PeerCertificates, name, clock)
		},
	}
}

// verify gives nil or *Untrusted.
func (t Trust) verify(chain []*x509.Certificate, name string, clock Clock) error {
	now := clock.Time
	if now.IsZero() {
		now = time.Now()
	}
	if t.Roots == nil && len(t.Pins) == 0 {
		return &Untrusted{Err: errors.New("neither certificate authorities nor pins are known")}
	}
	var authorities []*x509.Certificate // whose keys are pinned
	for _, c := range chain[1:] {
		if t.pinned(c) {
			authorities = append(authorities, c)
		}
	}
	leaf := t.pinned(chain[0])
	if len(t.Pins) > 0 && !leaf && authorities == nil {
		return &Untrusted{Err: fmt.Errorf("its key %v is none of those that are pinned", PinOf(chain[0]))}
	}
	if t.Roots == nil && leaf {
		return nil
	}
	roots := t.Roots
	if roots == nil {
		roots = x509.NewCertPool()
		for _, c := range authorities {
			roots.AddCert(c)
		}
	}
	chains, err := chainsTo(roots, chain, name, now)
	switch {
	case err == nil && len(t.Pins) > 0 && !leaf && !through(chains, authorities):
		return &Untrusted{Err: errors.New("the certificate whose key is pinned has not signed it")}
	case err == nil:
		return nil
	case !isDate(err) || !clock.Doubtful:
		return &Untrusted{Err: err}
	case !leaf:
		return &Untrusted{Err: err, Clock: true}
	}
	// The pin stands for the date. All but the date must be right.
	if _, err := chainsTo(roots, chain, name, overlap(chain)); err != nil {
		return &Untrusted{Err: err}
	}
	return nil
}

func chainsTo(roots *x509.CertPool, chain []*x509.Certificate, name string, now time.Time) ([][]*x509.Certificate, error) {
	above := x509.NewCertPool()
	for _, c := range chain[1:] {
		above.AddCert(c)
	}
	// With an IP address x509 looks at those of the certificate.
	return chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: above, DNSName: name, CurrentTime: now})
}

// overlap is the first time at which all certificates are valid, if there is one.
func overlap(chain []*x509.Certificate) time.Time {
	t := chain[0].NotBefore
	for _, c := range chain[1:] {
		if c.NotBefore.After(t) {
			t = c.NotBefore
		}
	}
	return t
}

func through(chains [][]*x509.Certificate, authorities []*x509.Certificate) bool {
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
			return slices.ContainsFunc(authorities, func(a *x509.Certificate) bool { return bytes.Equal(a.Raw, c.Raw) })
		})
	})
}

// isDate says that an error is about the date of a certificate: x509 has no other one for a time before it.
func isDate(err error) bool {
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && invalid.Reason == x509.Expired
}
