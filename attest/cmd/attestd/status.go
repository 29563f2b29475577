package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/ember-os/ember/attest/page"
)

const (
	// statusTimeout is how long an answer of the status address may take.
	statusTimeout = 30 * time.Second
	// readyTimeout is how long the store may take to be read for the server to be ready.
	readyTimeout = 2 * time.Second
)

// statusHandler is for people and for monitoring. It changes nothing.
func (p *process) statusHandler() http.Handler {
	pages := page.New(page.Config{Registry: p.registry, Log: p.log, Names: p.config.Status.Names})
	p.metrics.Machines(pages.Counts, p.log)
	mux := http.NewServeMux()
	mux.Handle("/", pages)
	mux.Handle("GET /metrics", p.metrics.Handler())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", p.ready)
	mux.HandleFunc("GET /healthz", p.ready)
	return mux
}

// ready tells whether machines can be served: the store can be read, and the server does not stop.
func (p *process) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	err := p.registry.Ping(ctx)
	switch {
	case p.stopping.Load():
		say(w, http.StatusServiceUnavailable, "stopping")
	case err != nil:
		p.log.Error("not ready: reading the store", "error", err)
		say(w, http.StatusServiceUnavailable, "the store cannot be read")
	default:
		say(w, http.StatusOK, "ok")
	}
}

func say(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}
