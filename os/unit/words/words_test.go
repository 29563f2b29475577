package words

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		text    string
		want    []string
		unknown []string
	}{
		{text: "", want: nil},
		{text: " \t\n", want: nil},
		{text: "one  two\tthree ", want: []string{"one", "two", "three"}},
		{text: `"one two" 'three four'`, want: []string{"one two", "three four"}},
		{text: `--flag="a b"c ''`, want: []string{"--flag=a bc", ""}},
		{text: `"it's" '"'`, want: []string{"it's", `"`}},
		{text: `a\sb\tc "\"\\"`, want: []string{"a b\tc", `"\`}},
		{text: `\x41\102\u00e9\U0001f600`, want: []string{"ABé😀"}},
		{text: `'\x20'`, want: []string{" "}},
		{text: `\d+ \x4 \x00 \777 \ud800 \;`, want: []string{`\d+`, `\x4`, `\x00`, `\777`, `\ud800`, `\;`},
			unknown: []string{`\d`, `\x`, `\x`, `\7`, `\u`, `\;`}},
		{text: `end\`, want: []string{`end\`}, unknown: []string{`\`}},
	} {
		s := Scanner{Text: c.text}
		got, err := s.All()
		if err != nil || !slices.Equal(got, c.want) || !slices.Equal(s.Unknown, c.unknown) {
			t.Errorf("%q: %q, unknown %q, %v", c.text, got, s.Unknown, err)
		}
	}
}

func TestQuoteWithoutEnd(t *testing.T) {
	s := Scanner{Text: `fine "not so`}
	if got, err := s.All(); !errors.Is(err, ErrQuote) || !slices.Equal(got, []string{"fine"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLax(t *testing.T) {
	s := Scanner{Text: `-a "b c" d\ e\n 'f g\`, Lax: true}
	if got, err := s.All(); err != nil || !slices.Equal(got, []string{"-a", "b c", "d en", "f g"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzWords(f *testing.F) {
	f.Add(`a "b c" 'd' \x41\u00e9 \q`, false)
	f.Add(`"open \`, true)
	f.Fuzz(func(t *testing.T, text string, lax bool) {
		s := Scanner{Text: text, Lax: lax}
		got, err := s.All()
		if err != nil && (lax || !errors.Is(err, ErrQuote)) {
			t.Fatal(err)
		}
		if n := len(strings.Join(got, "")); n > len(text) {
			t.Fatalf("%d bytes from %d", n, len(text))
		}
		// What is quoted comes back as it was.
		var quoted []string
		for _, w := range got {
			quoted = append(quoted, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w)+`"`)
		}
		again := Scanner{Text: strings.Join(quoted, " ")}
		if back, err := again.All(); err != nil || !slices.Equal(back, got) {
			t.Fatalf("%q became %q, %v", got, back, err)
		}
	})
}
