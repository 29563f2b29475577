package server

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/protocol"
)

func TestRates(t *testing.T) {
	t.Run("machine", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) { c.Limits.MachinePerMinute = 2 })
		m := newMachine(t, "a")
		l.grant(t, m)
		l.grant(t, m)
		a := l.attest(t, m)
		l.wantRefused(t, a, 429, CodeRateMachine)
		if a.header.Get("Retry-After") != "30" {
			t.Errorf("it is to come again after %q", a.header.Get("Retry-After"))
		}
		l.grant(t, newMachine(t, "b"))
		l.pass(30 * time.Second)
		l.grant(t, m)
	})
	t.Run("requests that are not verified do not count for a machine", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) { c.Limits.MachinePerMinute = 1 })
		m := newMachine(t, "a")
		m.late = func(r *protocol.Request) { r.Quote.Attest = nil }
		l.wantRefused(t, l.attest(t, m), 403, "quote-nonce")
		m.late = nil
		l.grant(t, m)
	})
	t.Run("address", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) { c.Limits.AddressPerMinute = 2 })
		l.grant(t, newMachine(t, "a"))
		l.grant(t, newMachine(t, "b"))
		l.wantRefused(t, l.attest(t, newMachine(t, "c")), 429, CodeRateAddress)
		if a := l.attest(t, newMachine(t, "c")); a.status != 429 {
			t.Errorf("status %d", a.status)
		}
		if n := len(l.records(t)); n != 3 { // one line for all that are refused in a row
			t.Errorf("%d lines in the audit log", n)
		}
		l.pass(30 * time.Second)
		l.grant(t, newMachine(t, "c"))
		l.wantRefused(t, l.attest(t, newMachine(t, "c")), 429, CodeRateAddress)
	})
	t.Run("address behind a proxy", func(t *testing.T) {
		l := start(t, anyPolicy, func(c *Config) {
			c.Limits.AddressPerMinute = 1
			c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		})
		for _, from := range []string{"192.0.2.1", "192.0.2.2"} {
			client, nonce := l.dial(t)
			r, err := http.NewRequest(http.MethodPost, "https://example.com"+protocol.Path, encode(t, newMachine(t, "a").request(t, nonce)))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Forwarded-For", "198.51.100.1, "+from)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			if a := read(t, resp); a.status != 200 || l.last(t).Address != from {
				t.Errorf("status %d, audit %+v", a.status, l.last(t))
			}
		}
	})
}

// Something that passes TCP connections on is one address for all machines.
func TestRatesBehindTCP(t *testing.T) {
	l := start(t, anyPolicy, func(c *Config) {
		c.Limits = Limits{AddressPerMinute: 1, MachinePerMinute: 1}
		c.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	})
	l.grant(t, newMachine(t, "a"))
	l.grant(t, newMachine(t, "b"))
	l.wantRefused(t, l.attest(t, newMachine(t, "a")), 429, CodeRateMachine)
	for _, ask := range []struct{ method, path string }{
		{http.MethodPost, protocol.Path}, {http.MethodPost, protocol.ReportPath}, {http.MethodGet, "/" + overlayPath + "base/1"},
	} {
		for _, test := range []struct {
			from    string
			refused bool
		}{{"127.0.0.1:5", false}, {"192.0.2.1:5", true}} {
			l.limiters = newLimiters(l.Limits)
			status := 0
			for range 2 {
				r := httptest.NewRequest(ask.method, ask.path, nil)
				r.RemoteAddr = test.from
				w := httptest.NewRecorder()
				l.ServeHTTP(w, r)
				status = w.Code
			}
			if (status == http.StatusTooManyRequests) != test.refused {
				t.Errorf("%s from %s: status %d", ask.path, test.from, status)
			}
		}
	}
}

// A request that gets no turn is told to come again, and its own end does not wait for a turn.
func TestBusy(t *testing.T) {
	l := start(t, anyPolicy)
	for range cap(l.slots) {
		l.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.slot(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	l.patience = time.Millisecond
	a := l.attest(t, newMachine(t, "a"))
	l.wantRefused(t, a, 503, CodeBusy)
	if a.header.Get("Retry-After") == "" {
		t.Error("it is not told when to come again")
	}
	<-l.slots
	l.grant(t, newMachine(t, "a"))
}
