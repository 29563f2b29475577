package logd

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// mask is what stands for a secret.
const mask = "***"

// shortSecret is the length below which a secret is only hidden as a whole word:
// a log in which every "a" is hidden is none, and hides nothing.
const shortSecret = 4

// redactor hides secrets: as they are, and as they look in URLs and in JSON.
type redactor []string

func newRedactor(secrets []string) redactor {
	var r redactor
	for _, s := range secrets {
		r = append(r, s, clean([]byte(s)), url.QueryEscape(s), url.PathEscape(s), url.UserPassword("", s).String()[1:])
		if text, err := json.Marshal(s); err == nil {
			r = append(r, string(text[1:len(text)-1]))
		}
	}
	// A part of a line has to be longer than what it may end with, see lines.
	r = slices.DeleteFunc(r, func(s string) bool { return s == "" || len(s) > maxText/2 })
	// The longest first: a secret may be a part of another.
	slices.SortFunc(r, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(r)
}

// redact hides the secrets in a text.
func (r redactor) redact(text string) string {
	for _, s := range r {
		if len(s) >= shortSecret {
			text = strings.ReplaceAll(text, s, mask)
		} else if strings.Contains(text, s) {
			text = redactWord(text, s)
		}
	}
	return text
}

func redactWord(text, secret string) string {
	var b strings.Builder
	for start := 0; ; {
		i := strings.Index(text[start:], secret)
		if i < 0 {
			return b.String() + text[start:]
		}
		i += start
		end := i + len(secret)
		if i > 0 && isWord(text[i-1]) || end < len(text) && isWord(text[end]) {
			b.WriteString(text[start : i+1])
			start = i + 1
			continue
		}
		b.WriteString(text[start:i] + mask)
		start = end
	}
}

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}

// hold counts the bytes at the end of a text that have to wait for what is still to
// come, since a secret may begin there. Without them the text ends with no part of a
// secret.
func (r redactor) hold(text []byte) int {
	begun := r.begun(text)
	cut := len(text) - begun
	// A secret that ends as it begins is whole, and may have begun again.
	for start := 0; begun > 0 && start < cut; {
		from, to := r.first(text[start:])
		if start+from < cut && cut < start+to {
			return len(text) - start - from
		}
		start += to
	}
	return begun
}

// first finds the first secret in a text, and of those the longest: its beginning and
// its end, which are both the text's end if there is none.
func (r redactor) first(text []byte) (from, to int) {
	from, to = len(text), len(text)
	for _, s := range r {
		if i := bytes.Index(text[:min(len(text), from+len(s)-1)], []byte(s)); i >= 0 {
			from, to = i, i+len(s)
		}
	}
	return from, to
}

// begun counts the bytes at the end of a text that are the longest beginning of a
// secret, but not all of it.
func (r redactor) begun(text []byte) int {
	longest := 0
	for _, s := range r {
		for n := min(len(s)-1, len(text)); n > longest; n-- {
			if bytes.HasSuffix(text, []byte(s[:n])) {
				longest = n
			}
		}
	}
	return longest
}
