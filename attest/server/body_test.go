package server

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/verify"
)

func TestBodies(t *testing.T) {
	const most = 1 << 20
	text := bytes.Repeat([]byte("0123456789abcdef"), (most+16)/16)
	b := newBodies(unusualBodies)
	read := func(body io.Reader, promised int64) ([]byte, func(), error) {
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = promised
		return b.read(httptest.NewRecorder(), r, most, "request")
	}
	code := func(err error) string {
		if r, ok := errors.AsType[*refusal](err); ok {
			return r.code
		}
		return ""
	}
	for _, n := range []int{0, 1, firstBody - 1, firstBody, firstBody + 1, usualBody - 1, usualBody, usualBody + 1, most / 2, most - 1, most, most + 1} {
		for _, promised := range []int64{-1, int64(n)} {
			got, release, err := read(bytes.NewReader(text[:n]), promised)
			taken := unusualBodies - b.left.Load()
			if n > most {
				if code(err) != CodeTooLarge || taken != 0 {
					t.Errorf("%d bytes: %v, with %d taken", n, err, taken)
				}
				continue
			}
			if err != nil || !bytes.Equal(got, text[:n]) {
				t.Fatalf("%d bytes: %d, %v", n, len(got), err)
			}
			if taken < int64(n-usualBody) || taken > most+1-usualBody || n < usualBody && taken != 0 {
				t.Errorf("%d bytes: %d are taken", n, taken)
			}
			release()
		}
	}
	if _, _, err := read(io.MultiReader(bytes.NewReader(text[:most/2]), iotest.ErrReader(io.ErrUnexpectedEOF)), -1); code(err) != CodeIncomplete {
		t.Errorf("one that breaks off: %v", err)
	}
	if left := b.left.Load(); left != unusualBodies {
		t.Errorf("%d bytes are not given back", unusualBodies-left)
	}
}

// TestLargeRequests has no memory for two at a time.
func TestLargeRequests(t *testing.T) {
	l := start(t, anyPolicy)
	l.bodies = newBodies(3 * usualBody / 2)
	large := func(ek string) *machine {
		m := newMachine(t, ek)
		m.edit = func(r *protocol.Request) { r.EventLog = make([]byte, usualBody) }
		return m
	}
	here, goOn := make(chan struct{}), make(chan struct{})
	l.verified = func(r *protocol.Request, nonce []byte, o verify.Options) (*verify.Evidence, error) {
		if string(r.EK) == "a" {
			close(here)
			<-goOn
		}
		return attested(r, nonce, o)
	}
	first := make(chan answer)
	go func() { first <- l.attest(t, large("a")) }()
	<-here
	a := l.attest(t, large("b"))
	l.wantRefused(t, a, 503, CodeBusy)
	if a.header.Get("Retry-After") != "10" {
		t.Errorf("it is to come again after %q", a.header.Get("Retry-After"))
	}
	l.grant(t, newMachine(t, "c")) // a small one
	close(goOn)
	if a := <-first; a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	l.grant(t, large("d"))
}
