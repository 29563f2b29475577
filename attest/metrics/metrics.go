// Package metrics has what Prometheus is told of an attestation server. Names and labels stay; docs/status-page.md
// lists them. No label has a value from outside: machines and addresses are in the audit log and on the status page.
package metrics

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/server"
)

const (
	namespace = "ember_attestd"
	// patience is how long a scrape waits for the machines to be counted.
	patience = 5 * time.Second
)

// Metrics implements server.Counters.
type Metrics struct {
	registry   *prometheus.Registry
	decisions  *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	challenges prometheus.Counter
	reports    *prometheus.CounterVec
	overlays   *prometheus.CounterVec
	refused    *prometheus.CounterVec
	reloadOK   prometheus.Gauge
	reloadTime prometheus.Gauge
	notAfter   prometheus.Gauge
}

// New makes the metrics of a process of that version.
func New(version string) *Metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
	}
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		decisions: counters("decisions_total", "Decisions about machines, by decision, code and tier.", "decision", "code", "tier"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "decision_duration_seconds",
			Help:    "Time from the first byte of a request to its decision, the machine's own time included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 180},
		}, []string{"decision"}),
		challenges: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "challenges_total", Help: "Nonces that were given."}),
		reports:    counters("reports_total", "Reports of machines, by code; ok for those that were taken.", "code"),
		overlays:   counters("overlay_requests_total", "Requests for the ciphertext of an overlay, by code; ok for those that were served.", "code"),
		refused:    counters("connections_refused_total", "Connections that were closed at once, by the limit that they were over.", "limit"),
		reloadOK:   gauge("config_last_reload_successful", "Whether the last reading of the configuration has succeeded."),
		reloadTime: gauge("config_last_reload_success_timestamp_seconds", "When the configuration was last read with success."),
		notAfter:   gauge("tls_certificate_not_after_timestamp_seconds", "When the server's TLS certificate ends; 0 without one."),
	}
	for _, limit := range []string{server.LimitAll, server.LimitAddress} {
		m.refused.WithLabelValues(limit)
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version},
		}, func() float64 { return 1 }),
		m.decisions, m.duration, m.challenges, m.reports, m.overlays, m.refused, m.reloadOK, m.reloadTime, m.notAfter,
	)
	return m
}

// Decision implements server.Counters.
func (m *Metrics) Decision(v server.Verdict, code string, tier protocol.Tier, took time.Duration) {
	m.decisions.WithLabelValues(string(v), code, string(tier)).Inc()
	m.duration.WithLabelValues(string(v)).Observe(took.Seconds())
}

// Challenge implements server.Counters.
func (m *Metrics) Challenge() { m.challenges.Inc() }

// Report implements server.Counters.
func (m *Metrics) Report(code string) { m.reports.WithLabelValues(code).Inc() }

// Overlay implements server.Counters.
func (m *Metrics) Overlay(code string) { m.overlays.WithLabelValues(code).Inc() }

// Refused is a connection over a limit, server.LimitAll or server.LimitAddress.
func (m *Metrics) Refused(limit string) { m.refused.WithLabelValues(limit).Inc() }

// Reloaded says how the configuration was read.
func (m *Metrics) Reloaded(ok bool, now time.Time) {
	if !ok {
		m.reloadOK.Set(0)
		return
	}
	m.reloadOK.Set(1)
	m.reloadTime.Set(float64(now.UnixMilli()) / 1000)
}

// Certificate says when the TLS certificate ends.
func (m *Metrics) Certificate(notAfter time.Time) { m.notAfter.Set(float64(notAfter.Unix())) }

// Machines has machines counted, by state, at each scrape.
func (m *Metrics) Machines(count func(context.Context) (map[string]int, error), log *slog.Logger) {
	m.registry.MustRegister(&machines{count, log, prometheus.NewDesc(namespace+"_machines", "Machines by state, as on the status page.", []string{"state"}, nil)})
}

type machines struct {
	count func(context.Context) (map[string]int, error)
	log   *slog.Logger
	desc  *prometheus.Desc
}

func (m *machines) Describe(c chan<- *prometheus.Desc) { c <- m.desc }

// Collect leaves the metric out of a scrape if the store cannot be read: no number is better than an old one.
func (m *machines) Collect(c chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	counts, err := m.count(ctx)
	if err != nil {
		m.log.Error("counting machines for a scrape", "error", err)
		return
	}
	for state, n := range counts {
		c <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, float64(n), state)
	}
}

// Handler is what is scraped.
func (m *Metrics) Handler() http.Handler {
	return promhttp.InstrumentMetricHandler(m.registry, promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry}))
}
