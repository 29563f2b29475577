package main

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ember-os/ember/attest/metrics"
	"github.com/ember-os/ember/attest/server"
)

// Connections over the limit are seen by whoever runs the server.
func TestTooManyConnections(t *testing.T) {
	r, _ := begin(t, minimal+"limits: {connections: 1}\nstatus: {listen: '127.0.0.1:0'}\n")
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for range 3 {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	await(t, "two connections are counted", func() bool {
		_, _, body := get(t, r.status+"/metrics")
		return strings.Contains(body, `ember_attestd_connections_refused_total{limit="connections"} 2`+"\n")
	})
	if log := r.log.String(); strings.Count(log, "level=WARN") != 1 || !strings.Contains(log, "raise limits.connections\" closed=1 address=127.0.0.1") {
		t.Errorf("the log is %s", log)
	}
}

// Many connections do not fill the log, and those of one limit do not hide those of the other.
func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(output)
		p := &process{log: slog.New(slog.NewTextHandler(log, nil)), metrics: metrics.New("1")}
		refused, from := p.refused(), netip.MustParseAddr("192.0.2.1")
		for range 5 {
			refused(server.LimitAll, from)
			refused(server.LimitAddress, from)
		}
		time.Sleep(warnInterval)
		refused(server.LimitAll, from)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[1], "limits.connectionsPerAddress") || !strings.Contains(lines[2], "closed=5 ") {
			t.Errorf("the log is %q", lines)
		}
	})
}
