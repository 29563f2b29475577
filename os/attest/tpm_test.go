package attest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/client"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/tpm"
	"github.com/ember-os/ember/os/cmdline"
	"github.com/ember-os/ember/os/version"
)

func TestOpenTPM(t *testing.T) {
	dir := t.TempDir()
	device := filepath.Join(dir, "tpmrm0")
	if _, err := openTPM(device); !isNoTPM(err) {
		t.Errorf("without a TPM: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tpm0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openTPM(device); !isNoTPM(err) {
		t.Errorf("with a TPM 1.2: %v", err)
	}
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openTPM(device); err == nil || isNoTPM(err) {
		t.Errorf("with a TPM that says nothing: %v", err)
	}
	if err := capTPM(device); err == nil {
		t.Error("a TPM that says nothing is capped")
	}
}

// brokenSession is on a TPM that has started, and fails when it is asked for a quote.
type brokenSession struct {
	fakeSession
	err    error
	claims protocol.Claims // that it was to make a request with
}

func (s *brokenSession) Request(_, _, _ []byte, claims json.RawMessage) (*protocol.Request, error) {
	if err := json.Unmarshal(claims, &s.claims); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("quoting: %w", s.err)
}

// TestLasting has errors of the TPM, some of which are no better a second later.
func TestLasting(t *testing.T) {
	for _, err := range []error{tpm.ErrNone, tpm.ErrVersion12} {
		if !isNoTPM(lasting(fmt.Errorf("starting: %w", err))) {
			t.Errorf("%v: there is a TPM that can attest", err)
		}
	}
	web := httptest.NewTLSServer(http.NotFoundHandler())
	defer web.Close()
	p := &program{from: "disk", anchors: t.TempDir(), params: cmdline.Attest{URL: web.URL, Pins: []string{client.PinOf(web.Certificate()).String()}}}
	for _, c := range []struct {
		err   error
		unfit bool
	}{
		{tpm.ErrFailure, true}, {tpm.ErrNoSHA256, true}, {tpm.ErrPassword, true}, {tpm.ErrBusy, false}, {errors.New("reading"), false},
	} {
		s := &brokenSession{err: c.err}
		_, err := p.attest(t.Context(), s)
		_, isUnfit := errors.AsType[unfit](err)
		if isUnfit != c.unfit || Unanswered(err) || !strings.Contains(err.Error(), c.err.Error()) {
			t.Errorf("%v: %T %v", c.err, err, err)
		}
		if s.claims.Boot != "disk" || s.claims.Image != version.Version {
			t.Errorf("it claims %+v", s.claims)
		}
	}
}

func isNoTPM(err error) bool {
	_, ok := errors.AsType[noTPM](err)
	return ok
}
