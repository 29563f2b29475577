package page

import (
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/store"
)

// get asks for a page.
func get(t testing.TB, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r.Host = "127.0.0.1:8080"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// body is a page that is there, parsed.
func body(t testing.TB, h http.Handler, path string) (text string, document *html.Node) {
	t.Helper()
	w := get(t, h, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: status %d", path, w.Code)
	}
	text = w.Body.String()
	document, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return text, document
}

// small is a fleet with every state.
const small = 720

// everyPage are pages of all kinds.
func everyPage() []string {
	pages := []string{"/", "/?q=nothing-has-this", "/?state=attested&page=3&sort=name", "/?tier=enrolled&boot=disk"}
	for _, i := range []int{1, 2, 4, 5, 7, 9, 11} { // refused, unhealthy, attested, waiting, granted, enrolled, revoked
		pages = append(pages, "/machines/"+nodeOf(i))
	}
	return pages
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

func elements(n *html.Node) (all []*html.Node) {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode {
			all = append(all, c)
		}
	}
	return all
}

func inside(n *html.Node, name string) bool {
	for p := range n.Ancestors() {
		if p.Data == name {
			return true
		}
	}
	return false
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func TestHeaders(t *testing.T) {
	_, h := open(t)
	for _, path := range []string{"/", "/machines/x", "/machines/" + nodeOf(1), "/none", "/icon.svg", h.(*Page).style} {
		w := get(t, h, path)
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none';") || strings.Contains(csp, "script") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v", path, w.Header())
		}
	}
	for path, want := range map[string]int{"/machines/x": 404, "/machines/" + nodeOf(1): 404, "/none": 404, "/": 200} {
		if w := get(t, h, path); w.Code != want || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") {
			t.Errorf("%s: status %d, %s", path, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

// Another website cannot look through the browser of somebody who may.
func TestNames(t *testing.T) {
	_, h := open(t)
	for host, want := range map[string]int{
		"127.0.0.1:8080": 200, "[::1]:8080": 200, "localhost": 200, "192.0.2.7": 200, "status.example:8080": 200, "STATUS.example": 200,
		"evil.example": 421, "status.example.evil.example": 421, "": 421, "127.0.0.1.evil.example": 421,
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: status %d, want %d", host, w.Code, want)
		}
	}
}

// What a machine says of itself stays text.
func TestHostile(t *testing.T) {
	r, h := open(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	v := verdictOf(1)
	v.Claims.Hostname, v.Claims.Serial, v.Claims.Image, v.Overlay = evil, evil, evil, evil
	e := evidence(now, true)
	e.Policy = evil
	for i := range e.Events {
		e.Events[i].Text = evil
	}
	if err := r.Prove(t.Context(), v, e); err != nil {
		t.Fatal(err)
	}
	report := store.Report{Node: v.Node, Time: now, Certificate: v.Certificate, Stages: []string{`ember: stage=start t=1.000 a="` + `\"><script>` + `"`}, Status: []byte(fmt.Sprintf(`{"Version":%q}`, evil))}
	report.Health.State, report.Health.Why = "failing", evil
	if err := r.Report(t.Context(), report, store.Progress{Stage: evil, Boot: evil}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/?q=" + url.QueryEscape(evil), "/machines/" + v.Node} {
		text, document := body(t, h, path)
		for _, n := range elements(document) {
			if n.Data == "script" || n.Data == "img" {
				t.Errorf("%s: a %s of the machine's making", path, n.Data)
			}
		}
		if strings.Contains(text, "<script") {
			t.Errorf("%s has a script", path)
		}
	}
}

// rowsOf are the names of the machines in a list.
func rowsOf(document *html.Node) (names []string) {
	for _, n := range elements(document) {
		if role, _ := attr(n, "role"); n.Data == "a" && n.Parent.Data == "th" && role == "" {
			names = append(names, textOf(n))
		}
	}
	return names
}

func TestList(t *testing.T) {
	r, h := open(t)
	fill(t, r, small)
	_, first := body(t, h, "/")
	if n := len(rowsOf(first)); n != perPage {
		t.Errorf("%d rows", n)
	}
	for _, test := range []struct {
		path string
		rows int
		has  string
	}{
		{"/?q=" + nodeOf(100)[:16], 1, "node-02-04"},
		{"/?q=8xk00100", 1, "1 machine"},
		{"/?q=RACK+8xk00100", 1, "1 machine"},
		{"/?q=8xk00100+8xk00101", 0, "No machine matches"},
		{"/?q=policy-pcr", 4, "Refused"},
		{"/?state=revoked", 2, "Revoked"},
		{"/?state=waiting", 3, "Waiting"},
		{"/?state=granted", 2, "Not proved"},
		{"/?state=enrolled", 3, "Enrolled"},
		{"/?state=refused&q=node-00", 1, "policy-pcr"},
		{"/?health=failing", 3, `Failing</span> <span class="why"><time`},
		{"/?tier=enrolled&boot=disk", 2, "Last-known-good"},
		{"/?page=15", 20, "701 to 720 of 720"},
		{"/?page=99", 20, "Page 15 of 15"},
		{"/?page=-1", 50, "Page 1 of 15"},
		{"/?state=nonsense&tier=x&sort=y&page=z", 50, "720 machines"},
	} {
		text, document := body(t, h, test.path)
		if n := len(rowsOf(document)); n != test.rows || !strings.Contains(text, test.has) {
			t.Errorf("%s: %d rows, want %d with %q", test.path, n, test.rows, test.has)
		}
	}
	_, byName := body(t, h, "/?sort=name")
	if names := rowsOf(byName); !slices.IsSorted(names) {
		t.Errorf("not by name: %v", names[:5])
	}
	text, _ := body(t, h, "/")
	if _, rows, _ := strings.Cut(text, "<tbody"); !strings.Contains(rows[:strings.Index(rows, "</tr>")], "policy-pcr") {
		t.Error("what needs somebody does not come first")
	}
}

// The addresses of other pages keep what was asked for, and every machine is on one of them.
func TestPaging(t *testing.T) {
	r, h := open(t)
	fill(t, r, 170)
	seen := map[string]bool{}
	path, pages := "/?q=rack&sort=oldest", 0
	for path != "" {
		_, document := body(t, h, path)
		path = ""
		for _, n := range elements(document) {
			if href, _ := attr(n, "href"); n.Data == "a" && strings.HasPrefix(href, "/machines/") {
				seen[href] = true
			}
			if rel, _ := attr(n, "rel"); rel == "next" {
				path, _ = attr(n, "href")
				if !strings.Contains(path, "q=rack") || !strings.Contains(path, "sort=oldest") {
					t.Errorf("the next page is %s", path)
				}
			}
		}
		pages++
	}
	if pages != 4 || len(seen) < 165 {
		t.Errorf("%d machines on %d pages", len(seen), pages)
	}
}

func TestMachine(t *testing.T) {
	r, h := open(t)
	fill(t, r, 12)
	for i, want := range map[int][]string{
		1: {"policy-pcr", "not proved", "1 PCR differs", "8GRUB’s commands", "9command line, initrd", "The first event that has changed since", "EV_EFI_BOOT_SERVICES_APPLICATION", "What it proved"},
		2: {"Failing", "kubelet.service", "Timeline of the boot", "devices to ready, 11 stages", "PowerEdge R640, serial 8XK2M33", "384 GiB installed",
			"Failing1 failed: kubelet.serviceReported 14 s ago"},
		4:  {"All 3 PCRs that it judges are as it wants them", "Healthy"},
		5:  {"waits for an operator", "It came first", "CN=Contoso TPM CA 3", "emberctl approve"},
		7:  {"nothing has shown yet that it did"},
		9:  {"It has not asked since", "rack 7, not delivered yet"},
		11: {"Revoked by bob: stolen"},
	} {
		text, document := body(t, h, "/machines/"+nodeOf(i))
		plain := textOf(document)
		for _, s := range want {
			if !strings.Contains(text, s) && !strings.Contains(plain, s) {
				t.Errorf("machine %d: %q is missing", i, s)
			}
		}
	}
}

// The first event that the policy tells from what it wants is marked, not the first that has changed since the last
// proof; one that is missing has its description.
func TestFirstEvent(t *testing.T) {
	r, h := open(t)
	v := verdictOf(1)
	if err := r.Prove(t.Context(), v, evidence(v.Time, false)); err != nil {
		t.Fatal(err)
	}
	e := evidence(v.Time.Add(time.Minute), true)
	const line = 16
	e.PCRs[9].Differs, e.Events[line].Differs = true, true
	e.Missing = []store.Event{{PCR: 9, Digest: digest("line"), Text: "the command <line>"}}
	v.Code, v.Time, v.Certificate = "policy-pcr", e.Time, ""
	if err := r.Refuse(t.Context(), v, e, true); err != nil {
		t.Fatal(err)
	}
	_, document := body(t, h, "/machines/"+v.Node)
	for _, want := range []string{"The first event that differs Event 17, PCR 9, EV_EVENT_TAG", "PCR 9: the command <line>, " + hex.EncodeToString(digest("line"))} {
		if !strings.Contains(textOf(document), want) {
			t.Errorf("%q is missing", want)
		}
	}
	var marked []string
	for _, n := range elements(document) {
		if class, _ := attr(n, "class"); n.Data == "tr" && class == "differs" && inside(n, "section") && strings.Contains(textOf(n), "EV_") {
			marked = append(marked, textOf(n))
		}
	}
	if len(marked) != 2 || marked[0] != marked[1] || !strings.HasPrefix(marked[0], "179EV_EVENT_TAG") { // in the excerpt and in the log
		t.Errorf("marked: %q", marked)
	}
}

// What somebody asks for in a machine's name, without its certificate, does not change what it has proved.
func TestWaitsAndHasProved(t *testing.T) {
	r, h := open(t)
	fill(t, r, 5)
	v := verdictOf(4)
	v.Time, v.Tier, v.Code, v.Certificate, v.Overlay, v.Claims.Hostname = now, protocol.None, "ek-queued", "", "", "thief"
	if _, err := r.Enqueue(t.Context(), store.Waiting{Node: v.Node, Address: v.Address, Problem: "ek-uncertified", Claims: v.Claims}, 9); err != nil {
		t.Fatal(err)
	}
	if err := r.Refuse(t.Context(), v, store.Evidence{Time: now}, true); err != nil {
		t.Fatal(err)
	}
	for path, rows := range map[string]int{"/?tier=attested&state=refused": 2, "/?tier=none": 0, "/?state=waiting": 0, "/?q=thief": 0} {
		if _, document := body(t, h, path); len(rowsOf(document)) != rows {
			t.Errorf("%s: %q, want %d rows", path, rowsOf(document), rows)
		}
	}
	_, document := body(t, h, "/machines/"+v.Node)
	text := textOf(document)
	for _, s := range []string{"TierAttested", "workers, version 7", "ek-queued", "A request in this machine’s name waits for an operator", "emberctl approve " + v.Node} {
		if !strings.Contains(text, s) {
			t.Errorf("%q is missing in %s", s, text)
		}
	}
	if strings.Contains(text, "Unknown") {
		t.Errorf("it is unknown: %s", text)
	}
}

// BenchmarkList is a page of 10,000 machines when they have been read; BenchmarkFirst reads them too.
func BenchmarkList(b *testing.B) {
	r, h := open(b)
	fill(b, r, 10000)
	get(b, h, "/")
	b.ResetTimer()
	for b.Loop() {
		if w := get(b, h, "/?q=node-07&sort=name&page=2"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

func BenchmarkFirst(b *testing.B) {
	r, h := open(b)
	fill(b, r, 10000)
	b.ResetTimer()
	for b.Loop() {
		h.(*Page).fleet.last = snapshot{}
		if w := get(b, h, "/"); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

// FuzzPages has addresses, stage lines, statuses and texts from outside in every page.
func FuzzPages(f *testing.F) {
	f.Add("q=a&state=refused&page=2", "ember: stage=start t=1.000", `{"Version":"1"}`, "text")
	f.Add("page=99999999999999999999", "ember: stage=panic t=4294967295.999 a=\"b\"", `{"Hardware":{"Disks":[{"Bytes":18446744073709551615}]}}`, "\x00\xff</svg>")
	p := New(Config{Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, query, line, status, text string) {
		rows := []row{newRow(&store.Summary{Node: nodeOf(1), Granted: &store.Verdict{Code: text, Reason: text}})}
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q := parse(v)
		again, err := url.ParseQuery(strings.TrimPrefix(strings.TrimPrefix(q.url(), "/"), "?"))
		if err != nil || parse(again) != q {
			t.Errorf("%+v has the address %s", q, q.url())
		}
		view := &machineView{row: rows[0], Boots: []bootView{{Timeline: newTimeline("boot-1", []string{line, line, "ember: stage=ready t=2.000"})}}, Inventory: readInventory([]byte(status)), Asked: &store.Verdict{Code: text, Address: text}}
		view.Evidence = []evidenceView{newEvidence("refusal", &store.Evidence{Policy: text, Events: []store.Event{{Text: text, Differs: true}}}, nil)}
		for name, body := range map[string]any{"list": newList(snapshot{rows: rows}, q), "machine": view} {
			w := httptest.NewRecorder()
			p.show(w, 200, name, frame{Title: text, Body: body})
			if w.Code != 200 {
				b, _ := io.ReadAll(w.Body)
				t.Errorf("%s: %s", name, b)
			}
		}
	})
}
