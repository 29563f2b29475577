package page

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ember-os/ember/attest/protocol"
	"github.com/ember-os/ember/attest/view"
)

// perPage is how many machines are on a page.
const perPage = 50

// query is what the address asks for.
type query struct {
	Q      string
	State  string
	Tier   protocol.Tier
	Boot   string
	Health string
	Sort   string
	Page   int
}

// Values that the address may have; the first of Sorts is the default.
var (
	tiers   = []string{"attested", "enrolled", "none"}
	boots   = []string{"network", "disk"}
	healths = []string{"healthy", "starting", failing}
	sorts   = []string{"attention", "name", "newest", "oldest"}
)

// maxQuery is the longest text that is searched for.
const maxQuery = 128

// parse takes what it understands: an address that was typed wrong shows too much, not an error.
func parse(v url.Values) query {
	one := func(key string, allowed []string) string {
		if s := v.Get(key); slices.Contains(allowed, s) {
			return s
		}
		return ""
	}
	q := query{
		Q:     strings.TrimSpace(strings.ToValidUTF8(v.Get("q"), "")),
		State: one("state", view.States), Tier: protocol.Tier(one("tier", tiers)), Boot: one("boot", boots), Health: one("health", healths),
		Sort: cmp.Or(one("sort", sorts), sorts[0]),
	}
	if len(q.Q) > maxQuery {
		q.Q = strings.ToValidUTF8(q.Q[:maxQuery], "")
	}
	q.Page, _ = strconv.Atoi(v.Get("page"))
	q.Page = max(q.Page, 1)
	return q
}

// url is the address of the query, without what is as it is by default.
func (q query) url() string {
	v := url.Values{}
	for key, value := range map[string]string{"q": q.Q, "state": q.State, "tier": string(q.Tier), "boot": q.Boot, "health": q.Health} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Sort != sorts[0] {
		v.Set("sort", q.Sort)
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if len(v) == 0 {
		return "/"
	}
	return "/?" + v.Encode()
}

// matches tells whether a row is asked for, but for its state.
func (q query) matches(r *row, words []string) bool {
	if q.Tier != "" && r.Tier != q.Tier || q.Boot != "" && r.Boot != q.Boot || q.Health != "" && r.Health != q.Health {
		return false
	}
	for _, word := range words {
		if !strings.Contains(r.search, word) {
			return false
		}
	}
	return true
}

// listView is the list as the template sees it.
type listView struct {
	Query       query
	Total       int // of all states
	Found       int
	First, Last int // of the rows, from 1 on
	Rows        []row
	Tabs        []tab
	Bar         []segment
	Filtered    bool // by more than the state
	Clear       string
	Previous    string
	Next        string
	Pages       int
	Selects     []choice
}

// tab is a state with how many machines are in it.
type tab struct {
	State   string // "" for all
	Title   string
	Count   int
	URL     string
	Current bool
}

// segment is a part of the bar of all machines, in percent.
type segment struct {
	State string
	X, W  float64
}

// choice is a select element.
type choice struct {
	Name, Label, Any, Value string
	Options                 []string
}

func (p *Page) list(w http.ResponseWriter, r *http.Request) {
	s, err := p.fleet.snapshot(r.Context())
	if err != nil {
		p.failed(w, err)
		return
	}
	p.show(w, http.StatusOK, "list", frame{Title: "Machines", Home: true, Body: newList(s, parse(r.URL.Query()))})
}

func newList(s snapshot, q query) *listView {
	words := strings.Fields(strings.ToLower(q.Q))
	counts := make(map[string]int)
	var found []*row
	v := &listView{Query: q, Filtered: len(words) > 0 || q.Tier != "" || q.Boot != "" || q.Health != ""}
	for i := range s.rows {
		row := &s.rows[i]
		if !q.matches(row, words) {
			continue
		}
		counts[row.State]++
		v.Total++
		if q.State == "" || q.State == row.State {
			found = append(found, row)
		}
	}
	order(found, q.Sort)
	v.Found = len(found)
	v.Pages = max((len(found)+perPage-1)/perPage, 1)
	v.Query.Page = min(q.Page, v.Pages)
	start := (v.Query.Page - 1) * perPage
	for _, row := range found[start:min(start+perPage, len(found))] {
		v.Rows = append(v.Rows, *row)
	}
	v.First, v.Last = min(start+1, len(found)), start+len(v.Rows)
	v.links(counts)
	return v
}

func order(rows []*row, by string) {
	switch by {
	case "name":
		slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(a.Name, b.Name) })
	case "newest":
		slices.SortStableFunc(rows, func(a, b *row) int { return b.Asked.Compare(a.Asked) })
	case "oldest":
		slices.SortStableFunc(rows, func(a, b *row) int { return a.Asked.Compare(b.Asked) })
	}
}

// links are the addresses of other views.
func (v *listView) links(counts map[string]int) {
	at := func(change func(*query)) string {
		q := v.Query
		change(&q)
		return q.url()
	}
	v.Tabs = []tab{{Title: "All", Count: v.Total, URL: at(func(q *query) { q.State, q.Page = "", 1 }), Current: v.Query.State == ""}}
	x := 0.0
	for _, s := range view.States {
		if counts[s] == 0 && v.Query.State != s {
			continue
		}
		v.Tabs = append(v.Tabs, tab{s, word(s), counts[s], at(func(q *query) { q.State, q.Page = s, 1 }), v.Query.State == s})
		if counts[s] > 0 {
			w := 100 * float64(counts[s]) / float64(v.Total)
			v.Bar = append(v.Bar, segment{s, x, w})
			x += w
		}
	}
	visible(v.Bar)
	v.Clear = query{State: v.Query.State, Sort: v.Query.Sort, Page: 1}.url()
	if v.Query.Page > 1 {
		v.Previous = at(func(q *query) { q.Page-- })
	}
	if v.Query.Page < v.Pages {
		v.Next = at(func(q *query) { q.Page++ })
	}
	v.Selects = []choice{
		{"tier", "Tier", "Any tier", string(v.Query.Tier), tiers},
		{"boot", "Boot path", "Any boot path", v.Query.Boot, boots},
		{"health", "Health", "Any health", v.Query.Health, healths},
		{"sort", "Order", "", v.Query.Sort, sorts},
	}
}

// visible makes every segment wide enough to be seen, at the cost of the widest.
func visible(bar []segment) {
	const least = 0.8
	if len(bar) == 0 {
		return
	}
	widest, taken := 0, 0.0
	for i := range bar {
		if bar[i].W > bar[widest].W {
			widest = i
		}
	}
	for i := range bar {
		if bar[i].W < least {
			taken += least - bar[i].W
			bar[i].W = least
		}
	}
	bar[widest].W -= taken
	x := 0.0
	for i := range bar {
		bar[i].X = x
		x += bar[i].W
	}
}
