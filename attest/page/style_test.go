package page

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// colours are the custom properties of the style sheet, by scheme.
func colours(t *testing.T) map[string]map[string]string {
	t.Helper()
	light, rest, ok := strings.Cut(string(style), "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "\n}\n")
	property := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`)
	all := map[string]map[string]string{"light": {}, "dark": {}}
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		for _, m := range property.FindAllStringSubmatch(text, -1) {
			all[scheme][m[1]] = m[2]
		}
	}
	return all
}

// luminance is the relative one of WCAG 2.2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil || len(colour) != 7 {
		t.Fatalf("%q is no colour", colour)
	}
	channel := func(shift int) float64 {
		c := float64(n>>shift&255) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*channel(16) + 0.7152*channel(8) + 0.0722*channel(0)
}

func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// Letters have the contrast of WCAG 2.2 AA (1.4.3) on every ground that they stand on; what is drawn and means
// something has that of 1.4.11.
func TestContrast(t *testing.T) {
	const letters, drawings = 4.5, 3
	for scheme, c := range colours(t) {
		check := func(least float64, ink string, grounds ...string) {
			for _, ground := range grounds {
				if c[ink] == "" || c[ground] == "" {
					t.Fatalf("%s: there is no %s or no %s", scheme, ink, ground)
				}
				if got := contrast(t, c[ink], c[ground]); got < least {
					t.Errorf("%s: %s on %s has %.2f, less than %v", scheme, ink, ground, got, least)
				}
			}
		}
		grounds := []string{"paper", "card", "bad-tint", "wait-tint", "odd-tint"}
		for _, ink := range []string{"ink", "soft", "accent", "bad"} {
			check(letters, ink, grounds...)
		}
		for _, ink := range []string{"good", "wait", "odd"} {
			check(letters, ink, "paper", "card")
		}
		check(letters, "soft", "line") // a tab under the pointer
		check(letters, "ink", "line")
		check(drawings, "edge", "paper", "card")
		check(drawings, "bar-good", "paper")
	}
}

// Colours that are not in the table would not be checked, nor be other ones in the dark.
func TestColoursHaveNames(t *testing.T) {
	for i, line := range strings.Split(string(style), "\n") {
		if strings.Contains(line, "#") && !strings.Contains(line, "--") && !strings.Contains(line, ".mark-") {
			t.Errorf("line %d has a colour of its own: %s", i+1, strings.TrimSpace(line))
		}
	}
	c := colours(t)
	for name := range c["light"] {
		if c["dark"][name] == "" {
			t.Errorf("--%s has no value in the dark", name)
		}
	}
	used := regexp.MustCompile(`var\(--([a-z-]+)\)`)
	for _, m := range used.FindAllStringSubmatch(string(style), -1) {
		if c["light"][m[1]] == "" {
			t.Errorf("--%s is used, but is not there", m[1])
		}
	}
	for _, want := range []string{":focus-visible", "@media (max-width", "outline: 3px solid"} {
		if !strings.Contains(string(style), want) {
			t.Errorf("%s is missing", want)
		}
	}
	if strings.Contains(string(style), "url(") || strings.Contains(string(style), "@import") {
		t.Error("the style sheet fetches something")
	}
}
