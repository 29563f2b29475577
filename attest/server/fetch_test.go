package server

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/ember-os/ember/attest/overlay/manifest"
)

// leaving is a client that goes away after some bytes.
type leaving struct {
	*httptest.ResponseRecorder
	left int
}

func (l *leaving) Write(b []byte) (int, error) {
	n, _ := l.ResponseRecorder.Write(b[:min(l.left, len(b))])
	if l.left -= n; n < len(b) {
		return n, errors.New("the client is gone")
	}
	return n, nil
}

func (l *leaving) SetWriteDeadline(time.Time) error { return nil }

// TestFetchOutcome has clients that do not get all of an overlay, or want none of it.
func TestFetchOutcome(t *testing.T) {
	l := start(t, overlayPolicy)
	p := newPress(t, l.registry)
	ciphertext := p.publish(t, manifest.Manifest{Name: "base", Version: 2})
	p.use(t, l, overlayPolicy)
	for name, test := range map[string]struct {
		method, header, value string
		left                  int
		code                  string
		bytes                 int64
	}{
		"all of it":           {http.MethodGet, "", "", len(ciphertext), CodeAllowed, int64(len(ciphertext))},
		"two parts":           {http.MethodGet, "Range", "bytes=0-9,20-29", 1 << 20, CodeAllowed, 0},
		"gone":                {http.MethodGet, "", "", 100, CodeBroken, 100},
		"gone at once":        {http.MethodGet, "", "", 0, CodeBroken, 0},
		"gone within a part":  {http.MethodGet, "Range", "bytes=10-", 100, CodeBroken, 100},
		"nothing asked for":   {http.MethodHead, "", "", 0, CodeNothing, 0},
		"nothing new":         {http.MethodGet, "If-None-Match", strconv.Quote(l.settings.Load().Overlays["base"].manifest.Ciphertext.SHA256.String()), 0, CodeNothing, 0},
		"nothing there":       {http.MethodGet, "Range", "bytes=" + strconv.Itoa(len(ciphertext)) + "-", 1 << 20, CodeNothing, 0},
		"what is no interval": {http.MethodGet, "Range", "bytes=9-1", 1 << 20, CodeNothing, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(test.method, "/v1/overlay/base/2", nil)
			if test.header != "" {
				r.Header.Set(test.header, test.value)
			}
			w := &leaving{httptest.NewRecorder(), test.left}
			l.ServeHTTP(w, r)
			if _, err := io.Copy(io.Discard, w.Body); err != nil {
				t.Fatal(err)
			}
			got := l.last(t)
			if got.Msg != "fetch" || got.Decision != string(Allow) || got.Code != test.code || test.bytes != 0 && got.Bytes != test.bytes {
				t.Errorf("the audit log has %+v, want %s with %d bytes", got, test.code, test.bytes)
			}
		})
	}
}

// TestFetchTooOften has an address of whose many requests one line tells.
func TestFetchTooOften(t *testing.T) {
	l := start(t, overlayPolicy, func(c *Config) { c.Limits.AddressPerMinute = 1 })
	for range 5 {
		r := httptest.NewRequest(http.MethodGet, "/v1/overlay/base/2", nil)
		l.ServeHTTP(httptest.NewRecorder(), r)
	}
	var codes []string
	for _, r := range l.records(t) {
		codes = append(codes, r.Code)
	}
	if len(codes) != 2 || codes[0] != CodeNoOverlay || codes[1] != CodeRateAddress {
		t.Errorf("the audit log has %q", codes)
	}
}
