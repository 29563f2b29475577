package page

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/ember-os/ember/attest/view"
)

// functions are those of the templates.
var functions = template.FuncMap{
	"ago":     ago,
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"seconds": seconds,
	"count":   count,
	"percent": func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) + "%" },
	"title":   title,
	"word":    word,
	"short":   short,
	"pairs":   pairs,
	"verdict": func(code string) string { return "state-" + code },
	"at":      at,
}

// at passes a template the page's time besides its value.
func at(now time.Time, value any) map[string]any { return map[string]any{"Now": now, "Value": value} }

// ago is how long before now t was, roughly.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 5*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

// seconds has as many digits as somebody would say.
func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	if d < 100*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// count has thousands apart.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// word is a state for people.
func word(state string) string {
	if state == view.Granted {
		return "Not proved"
	}
	return title(state)
}

// title begins with a capital letter.
func title(s any) string {
	text := fmt.Sprint(s)
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}

// pairs splits hex into groups of eight digits, where lines may break.
func pairs(hex string) (groups []string) {
	for ; len(hex) > 8; hex = hex[8:] {
		groups = append(groups, hex[:8])
	}
	return append(groups, hex)
}
