package client

import (
	"crypto/x509"
	"fmt"
	"testing"
	"time"
)

func TestPinnedAuthority(t *testing.T) {
	s := newServer(t, &granting{t: t})
	c := s.client()
	c.Trust = Trust{Pins: []Pin{PinOf(s.ca.cert)}}
	if _, err := Attest(t.Context(), newTPM(t), c); err != nil {
		t.Error(err)
	}
	c.Trust.Roots = s.ca.pool()
	if _, err := Attest(t.Context(), newTPM(t), c); err != nil {
		t.Error(err)
	}

	// Another's certificate, with the pinned authority's put behind it.
	rogue := newAuthority(t, testNow.Add(-time.Hour), testNow.Add(time.Hour)).issue(t, testNow.Add(-time.Hour), testNow.Add(time.Hour))
	rogue.Certificate = append(rogue.Certificate, s.ca.cert.Raw)
	r := &server{ca: s.ca, cert: rogue}
	r.start(t, &granting{t: t})
	c = r.client()
	c.Trust = Trust{Pins: []Pin{PinOf(s.ca.cert)}}
	wantUntrusted(t, attest(t, c), "unknown authority")
	c.Trust.Roots = x509.NewCertPool()
	above, err := x509.ParseCertificate(rogue.Certificate[1])
	if err != nil {
		t.Fatal(err)
	}
	c.Trust.Roots.AddCert(above)
	wantUntrusted(t, attest(t, c), "has not signed it")

	// The right authority's, for another name.
	c = s.client()
	c.URL = "https://localhost:" + c.URL[len("https://127.0.0.1:"):]
	c.Trust = Trust{Pins: []Pin{PinOf(s.ca.cert)}}
	wantUntrusted(t, attest(t, c), "localhost")
	c.Trust.Pins = []Pin{PinOf(s.cert.Leaf)}
	if _, err := Attest(t.Context(), newTPM(t), c); err != nil {
		t.Errorf("a pinned key under another name: %v", err)
	}
	c.Trust = Trust{}
	wantUntrusted(t, attest(t, c), "neither")
}

func TestParsePin(t *testing.T) {
	want := Pin{0xfb, 0xff, 31: 1}
	for _, s := range []string{
		want.String(), "sha256:-_8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=", "sha256:+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
		fmt.Sprintf("%x", want[:]), fmt.Sprintf("sha256:%X", want[:]),
	} {
		if got, err := ParsePin(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "sha256:", "sha1:" + want.String(), want.String()[len("sha256:"):], want.String() + "A", "ab", "sha256:*" + want.String()[8:]} {
		if _, err := ParsePin(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func FuzzParsePin(f *testing.F) {
	f.Add(Pin{}.String())
	f.Add("00")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePin(s)
		if err != nil {
			return
		}
		if again, err := ParsePin(p.String()); err != nil || again != p {
			t.Errorf("%q is %v, then %v, %v", s, p, again, err)
		}
	})
}
