package manual

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced one of a page.
type block struct {
	line int    // of the page, on which it begins
	kind string // sh, text, console
	who  string // the rest of the fence's line: the machine of a console, and perhaps the build that it boots
	text string
}

var fence = regexp.MustCompile("(?ms)^```(\\w+) ?([^\n]*)\n(.*?)^```$")

func blocks(t *testing.T, path string) (all []block) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	for _, at := range fence.FindAllStringSubmatchIndex(page, -1) {
		all = append(all, block{1 + strings.Count(page[:at[0]], "\n"), page[at[2]:at[3]], page[at[4]:at[5]], page[at[6]:at[7]]})
	}
	return all
}

// missing is the first line of want that got does not have; "" if it has all, in any order: tables are in that of
// the machines' names. White space is all the same, and "…" stands for anything.
func missing(got, want string) string {
	lines := strings.Split(got, "\n")
	for _, line := range strings.Split(strings.TrimSpace(want), "\n") {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(squeeze(line)), "…", ".*")
		like := regexp.MustCompile("^" + pattern + "$")
		at := slices.IndexFunc(lines, func(l string) bool { return like.MatchString(squeeze(l)) })
		if at < 0 {
			return line
		}
		lines = slices.Delete(lines, at, at+1)
	}
	return ""
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

func TestMissing(t *testing.T) {
	for _, test := range []struct{ got, want, missing string }{
		{"a\nb  c\nd\n", "a\nd\n", ""},
		{"a\nb  c\nd\n", "b c\n", ""},
		{"a\nb", "b\na", ""},
		{"a\nb", "a\na", "a"},
		{"node 9f86", "node …", ""},
		{"node 9f86", "node", "node"},
		{"a.c", "a.c", ""},
		{"abc", "a.c", "a.c"},
		{"", "a", "a"},
	} {
		if got := missing(test.got, test.want); got != test.missing {
			t.Errorf("of %q %q lacks %q, not %q", test.want, test.got, got, test.missing)
		}
	}
}
