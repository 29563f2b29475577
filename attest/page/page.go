// Package page is the status page of an attestation server: which machines are attested, which are not and why.
// It is read-only, for people, and complete without JavaScript; there is none. Nothing comes from elsewhere, and the
// headers keep a browser from fetching anything. docs/status-page.md says how to read it.
//
//	GET /                 machines, 50 on a page; q, state, tier, boot, health, sort and page are in the address
//	GET /machines/NODE    one machine
//
// Who may look is the listener's affair. So that no other website can look through its visitor's browser (DNS
// rebinding), a request must be for an address, localhost or one of Config.Names.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/store"
	"github.com/ember-os/ember/attest/view"
)

// Config is what the page needs. All fields but Names and Now are required.
type Config struct {
	Registry *store.Registry
	Log      *slog.Logger
	// Names are host names under which the page is asked for.
	Names []string
	// Now is the clock; nil for the machine's.
	Now func() time.Time
}

//go:embed templates/*.html
var templates embed.FS

//go:embed style.css
var style []byte

//go:embed icon.svg
var icon []byte

// policy lets a browser show what is in the page and its style sheet, send its form back here, and nothing else.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Page is the handler.
type Page struct {
	Config
	fleet   fleet
	pages   map[string]*template.Template
	style   string // its address
	handler http.Handler
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Counts are how many machines are in which state, of all states.
func (p *Page) Counts(ctx context.Context) (map[string]int, error) {
	s, err := p.fleet.snapshot(ctx)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, s := range view.States {
		counts[s] = 0
	}
	for _, row := range s.rows {
		counts[row.State]++
	}
	return counts, nil
}

// New makes the page.
func New(c Config) *Page {
	if c.Now == nil {
		c.Now = time.Now
	}
	sum := sha256.Sum256(style)
	p := &Page{
		Config: c,
		fleet:  fleet{registry: c.Registry, now: c.Now},
		style:  "/style-" + hex.EncodeToString(sum[:6]) + ".css",
		pages:  make(map[string]*template.Template),
	}
	for _, name := range []string{"list", "machine", "problem"} {
		t := template.New("layout.html").Funcs(functions)
		p.pages[name] = template.Must(t.ParseFS(templates, "templates/layout.html", "templates/parts.html", "templates/"+name+".html"))
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.list)
	mux.HandleFunc("GET /machines/{node}", p.machine)
	mux.HandleFunc("GET "+p.style, asset("text/css; charset=utf-8", style))
	mux.HandleFunc("GET /icon.svg", asset("image/svg+xml", icon))
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
		p.problem(w, http.StatusNotFound, "There is no such page", "The list of machines is the way to all others.")
	})
	p.handler = p.guard(mux)
	return p
}

// guard sets the headers of everything, and refuses names that are not ours.
func (p *Page) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !p.ours(r.Host) {
			p.problem(w, http.StatusMisdirectedRequest, "This page has another name",
				"Ask for it by its address, or put the name under status.names in the configuration of attestd.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *Page) ours(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost" || slices.ContainsFunc(p.Names, func(name string) bool { return strings.EqualFold(name, host) })
}

// asset is what can be kept, because another one has another address, or is for decoration.
func asset(kind string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "public, max-age=86400")
		w.Write(b)
	}
}

// frame is what is around every page.
type frame struct {
	Title string
	Style string
	Now   time.Time
	Home  bool // this is the list
	Body  any
}

// show shows a page, or an error's if it cannot be made: never half of it.
func (p *Page) show(w http.ResponseWriter, status int, name string, f frame) {
	f.Style, f.Now = p.style, p.Now().UTC()
	var b bytes.Buffer
	if err := p.pages[name].Execute(&b, f); err != nil {
		p.Log.Error("making a page", "page", name, "error", err)
		http.Error(w, "the page cannot be made; the server's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(b.Bytes())
}

type problem struct{ Title, Text string }

func (p *Page) problem(w http.ResponseWriter, status int, title, text string) {
	p.show(w, status, "problem", frame{Title: title, Body: problem{title, text}})
}

// failed is for an error of the store.
func (p *Page) failed(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody looks
	}
	p.Log.Error("reading records for the status page", "error", err)
	p.problem(w, http.StatusInternalServerError, "The records cannot be read", "The log of attestd says why.")
}
