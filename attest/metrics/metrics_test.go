package metrics_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ember-os/ember/attest/metrics"
	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
)

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := metrics.New("1.2.3")
	var counters server.Counters = m
	counters.Decision(server.Allow, server.CodeAllowed, protocol.Attested, 3*time.Millisecond)
	counters.Decision(server.Refuse, server.CodeRateAddress, "", 0)
	counters.Challenge()
	counters.Report(server.CodeAllowed)
	counters.Overlay(server.CodeNoOverlay)
	m.Refused(server.LimitAddress)
	m.Reloaded(true, time.Unix(1e9, 5e8))
	m.Certificate(time.Unix(2e9, 0))
	var broken error
	m.Machines(func(context.Context) (map[string]int, error) { return map[string]int{"refused": 2}, broken }, slog.New(slog.DiscardHandler))
	text := scrape(t, m)
	for _, line := range []string{
		`ember_attestd_build_info{version="1.2.3"} 1`,
		`ember_attestd_decisions_total{code="ok",decision="allow",tier="attested"} 1`,
		`ember_attestd_decisions_total{code="rate-address",decision="refuse",tier=""} 1`,
		`ember_attestd_decision_duration_seconds_bucket{decision="allow",le="0.005"} 1`,
		`ember_attestd_challenges_total 1`,
		`ember_attestd_reports_total{code="ok"} 1`,
		`ember_attestd_overlay_requests_total{code="overlay-absent"} 1`,
		`ember_attestd_connections_refused_total{limit="connections"} 0`,
		`ember_attestd_connections_refused_total{limit="connectionsPerAddress"} 1`,
		`ember_attestd_config_last_reload_success_timestamp_seconds 1.0000000005e+09`,
		`ember_attestd_tls_certificate_not_after_timestamp_seconds 2e+09`,
		`ember_attestd_machines{state="refused"} 2`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%s is missing", line)
		}
	}
	m.Reloaded(false, time.Now())
	broken = errors.New("no store")
	text = scrape(t, m)
	if strings.Contains(text, "ember_attestd_machines{") || !strings.Contains(text, "ember_attestd_config_last_reload_successful 0\n") {
		t.Errorf("after failures:\n%s", text)
	}
}

// The names are as the field has them.
func TestNames(t *testing.T) {
	m := metrics.New("1")
	m.Decision(server.Allow, "ok", protocol.Attested, time.Second)
	m.Report("ok")
	m.Overlay("ok")
	problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "ember_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
