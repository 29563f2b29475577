package page

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// What every page owes to those who do not see it, use no mouse, or have no JavaScript.
func TestAccessible(t *testing.T) {
	r, h := open(t)
	fill(t, r, small)
	for _, path := range everyPage() {
		t.Run(path, func(t *testing.T) {
			_, document := body(t, h, path)
			all := elements(document)
			count, ids := map[string]int{}, map[string]bool{}
			level := 0
			for _, n := range all {
				count[n.Data]++
				if id, ok := attr(n, "id"); ok {
					if ids[id] {
						t.Errorf("id %q is there twice", id)
					}
					ids[id] = true
				}
				if len(n.Data) == 2 && n.Data[0] == 'h' && n.Data[1] >= '1' && n.Data[1] <= '6' {
					if next := int(n.Data[1] - '0'); next > level+1 {
						t.Errorf("heading %d after %d: %s", next, level, textOf(n))
					} else {
						level = next
					}
				}
			}
			for _, name := range []string{"main", "h1", "header", "footer"} {
				if count[name] != 1 {
					t.Errorf("%d of %s", count[name], name)
				}
			}
			if count["title"] == 0 {
				t.Error("no title")
			}
			for _, n := range all {
				check(t, n, ids, all)
			}
		})
	}
}

func check(t *testing.T, n *html.Node, ids map[string]bool, all []*html.Node) {
	t.Helper()
	name := func(keys ...string) bool {
		for _, key := range keys {
			if v, _ := attr(n, key); v != "" {
				return true
			}
		}
		return false
	}
	for _, a := range n.Attr {
		if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.HasPrefix(strings.ToLower(a.Val), "javascript:") {
			t.Errorf("%s has %s", n.Data, a.Key)
		}
		if strings.HasPrefix(a.Key, "aria-") && (strings.HasSuffix(a.Key, "labelledby") || strings.HasSuffix(a.Key, "describedby")) || a.Key == "for" {
			for _, id := range strings.Fields(a.Val) {
				if !ids[id] {
					t.Errorf("%s refers to %q, which is not there", n.Data, id)
				}
			}
		}
		if a.Key == "href" || a.Key == "src" || a.Key == "action" {
			if u, err := url.Parse(a.Val); err != nil || u.Host != "" || u.Scheme != "" {
				t.Errorf("%s leads to %q", n.Data, a.Val)
			}
			if id, ok := strings.CutPrefix(a.Val, "#"); ok && !ids[id] {
				t.Errorf("%s refers to #%s, which is not there", n.Data, id)
			}
		}
	}
	switch n.Data {
	case "html":
		if !name("lang") {
			t.Error("no language")
		}
	case "script", "style", "iframe", "object":
		t.Errorf("there is a %s", n.Data)
	case "svg":
		hidden, _ := attr(n, "aria-hidden")
		role, _ := attr(n, "role")
		if hidden != "true" && (role != "img" || !name("aria-labelledby", "aria-label")) {
			t.Error("a drawing is neither hidden nor has a name")
		}
	case "input", "select":
		if kind, _ := attr(n, "type"); kind == "hidden" {
			break
		}
		id, _ := attr(n, "id")
		if !slices.ContainsFunc(all, func(l *html.Node) bool {
			v, _ := attr(l, "for")
			return l.Data == "label" && v == id && textOf(l) != ""
		}) {
			t.Errorf("%s %q has no label", n.Data, id)
		}
	case "th":
		if !name("scope") {
			t.Error("a heading of a table has no scope")
		}
	case "a", "button", "summary", "h1", "h2", "h3", "label", "caption":
		if textOf(n) == "" {
			t.Errorf("%s has no text", n.Data)
		}
	case "nav", "section":
		if !name("aria-label", "aria-labelledby") {
			t.Errorf("%s has no name", n.Data)
		}
	case "time":
		if !name("datetime") {
			t.Error("a time is only for people")
		}
	}
	if class, _ := attr(n, "class"); strings.HasPrefix(class, "state ") || strings.HasPrefix(class, "health ") {
		if textOf(n) == "" || !slices.ContainsFunc(elements(n), func(c *html.Node) bool { return c.Data == "svg" }) {
			t.Errorf("%s is told by colour alone", class)
		}
	}
	if tab, ok := attr(n, "tabindex"); ok && tab == "0" && !name("aria-label") {
		t.Errorf("%s can have the focus, but has no name", n.Data)
	}
	if n.Data == "table" && inside(n, "table") {
		t.Error("a table in a table")
	}
}
