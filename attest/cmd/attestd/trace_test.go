package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ember-os/ember/attest/protocol"
)

// A machine's request is traced where the environment says, and its span is not lost when the server stops.
func TestTraces(t *testing.T) {
	got := make(chan []byte, 9)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}))
	t.Cleanup(receiver.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	r, _ := begin(t, minimal)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	resp, err := client.Post("https://"+r.address+protocol.Path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil
	select {
	case b := <-got: // its text is not encoded
		if !bytes.Contains(b, []byte("POST "+protocol.Path)) {
			t.Errorf("the receiver got %q", b)
		}
	default:
		t.Error("the receiver got nothing")
	}
}
