package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (status int, kind, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

func TestStatusAddress(t *testing.T) {
	r, _ := begin(t, minimal+"status: {listen: '127.0.0.1:0'}\n")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	node := strings.Repeat("a", 64)
	if err := r.admin.Enroll(t.Context(), node, "rack 4"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ path, kind, has string }{
		{"/", "text/html", "1 machine"},
		{"/machines/" + node, "text/html", "rack 4"},
		{"/livez", "text/plain", "ok"},
		{"/readyz", "text/plain", "ok"},
		{"/healthz", "text/plain", "ok"},
		{"/metrics", "text/plain", `ember_attestd_machines{state="enrolled"} 1`},
		{"/metrics", "text/plain", "ember_attestd_config_last_reload_successful 1"},
		{"/metrics", "text/plain", "ember_attestd_build_info{version="},
		{"/metrics", "text/plain", "process_start_time_seconds "},
		{"/metrics", "text/plain", "go_goroutines "},
	} {
		if status, kind, body := get(t, r.status+test.path); status != 200 || !strings.HasPrefix(kind, test.kind) || !strings.Contains(body, test.has) {
			t.Errorf("%s: status %d, %s, without %q", test.path, status, kind, test.has)
		}
	}
	if _, _, body := get(t, r.status+"/metrics"); strings.Contains(body, "tls_certificate_not_after_timestamp_seconds 0\n") {
		t.Error("the end of the certificate is not known")
	}
	writeFile(t, filepath.Join(r.dir, "tls.pem"), []byte("nothing"))
	await(t, "the metric says that reloading has failed", func() bool {
		_, _, body := get(t, r.status+"/metrics")
		return strings.Contains(body, "ember_attestd_config_last_reload_successful 0")
	})
	// Nothing changes anything.
	for _, path := range []string{"/", "/machines/" + node, "/metrics", "/readyz"} {
		resp, err := http.Post(r.status+path, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed && resp.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s: status %d", path, resp.StatusCode)
		}
	}
}

// A server that cannot read its store, or stops, is alive, but takes no machines.
func TestNotReady(t *testing.T) {
	prepare(t, minimal)
	log := new(output)
	p, err := start(t.Context(), "attestd.yaml", flags{}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	h := p.statusHandler()
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code
	}
	want := func(when string, ready int) {
		t.Helper()
		if live, now := ask("/livez"), ask("/readyz"); live != 200 || now != ready {
			t.Errorf("%s: livez %d, readyz %d", when, live, now)
		}
	}
	want("running", 200)
	p.stopping.Store(true)
	want("stopping", 503)
	p.stopping.Store(false)
	p.close()
	want("without its store", 503)
}
