package bootserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/ember-os/ember/os/vm/bootserver"
)

func TestServer(t *testing.T) {
	var served []bootserver.Served
	s := &bootserver.Server{Served: func(a bootserver.Served) { served = append(served, a) }}
	ask := func(method string) (*http.Response, string) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest(method, "/"+bootserver.Name, nil))
		b, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Result(), string(b)
	}
	if r, _ := ask(http.MethodGet); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without a program: %s", r.Status)
	}
	s.Publish([]byte("program"))
	// Firmware asks how long it is first.
	if r, body := ask(http.MethodHead); r.StatusCode != http.StatusOK || r.ContentLength != 7 || body != "" {
		t.Errorf("HEAD: %s, %d, %q", r.Status, r.ContentLength, body)
	}
	if r, body := ask(http.MethodGet); r.StatusCode != http.StatusOK || r.ContentLength != 7 || body != "program" {
		t.Errorf("GET: %s, %d, %q", r.Status, r.ContentLength, body)
	}
	if before := s.Publish(nil); string(before) != "program" || s.Program() != nil {
		t.Errorf("%q was served", before)
	}
	want := []bootserver.Served{{http.MethodGet, 503, 0}, {http.MethodHead, 200, 0}, {http.MethodGet, 200, 7}}
	if !slices.Equal(served, want) {
		t.Errorf("it has heard of %v", served)
	}
}
