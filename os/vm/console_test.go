package vm

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func is(want string) func(string) bool { return func(line string) bool { return line == want } }

func never(string) bool { return false }

func TestLines(t *testing.T) {
	for _, test := range []struct {
		name   string
		writes []string
		want   []string
	}{
		{"line ends", []string{"one\ntwo\r\nthree\rfour\n"}, []string{"one", "two", "three", "four"}},
		{"pieces", []string{"o", "ne\r", "\ntw", "o\r\n"}, []string{"one", "two"}},
		{"empty", []string{"\n\r\n  \n\x1b[0m\r\na\n"}, []string{"a"}},
		{"last without end", []string{"one\ntw", "o"}, []string{"one", "two"}},
		{"colours", []string{"\x1b[1;31mred\x1b[0m and \x1b[38;5;7mgrey\x1b[m\n"}, []string{"red and grey"}},
		{"firmware", []string{"\x1b[2J\x1b[01;01H\x1b[=3h\x1b[2J\x1b[01;01HBdsDxe: loading\r\n"}, []string{"BdsDxe: loading"}},
		{"split escape", []string{"a\x1b[", "31mb\n"}, []string{"ab"}},
		{"title", []string{"\x1b]0;title\x07one\x1b]2;title\x1b\\ two\n"}, []string{"one two"}},
		{"short escapes", []string{"\x1b7\x1bMa\x1b(B\x1b8\n"}, []string{"a"}},
		{"control bytes", []string{"\x00a\x07\x08b\x7f\n"}, []string{"ab"}},
		{"not UTF-8", []string{"a\xffb\n"}, []string{"a\uFFFDb"}},
		{"too long", []string{strings.Repeat("x", maxLine+1) + "\n"}, []string{strings.Repeat("x", maxLine), "x"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var raw strings.Builder
			c := newConsole(&raw)
			for _, w := range test.writes {
				io.WriteString(c, w)
			}
			c.end(io.EOF)
			var got []string
			_, err := c.wait(t.Context(), func(line string) bool {
				got = append(got, line)
				return false
			})
			if !slices.Equal(got, test.want) || !errors.Is(err, io.EOF) {
				t.Errorf("got %q, %v", got, err)
			}
			if raw.String() != strings.Join(test.writes, "") {
				t.Errorf("the copy is %q", raw.String())
			}
		})
	}
}

func TestWaitGoesOnAfterTheMatch(t *testing.T) {
	c := newConsole()
	io.WriteString(c, "a\nb\na\n")
	for _, want := range []string{"a", "a"} {
		if got, err := c.wait(t.Context(), is(want)); got != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	c.end(io.EOF)
	if got, err := c.wait(t.Context(), is("a")); err == nil {
		t.Errorf("%q was seen twice", got)
	}
}

// An incomplete line may still grow: it matches only where the output ends.
func TestWaitForTheWholeLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole()
		io.WriteString(c, "stage=1")
		got := make(chan string)
		go func() {
			line, _ := c.wait(t.Context(), func(l string) bool { return strings.HasPrefix(l, "stage=") })
			got <- line
		}()
		synctest.Wait()
		io.WriteString(c, "2\n")
		if line := <-got; line != "stage=12" {
			t.Errorf("got %q", line)
		}
	})
}

func TestWaitDrainsBeforeItFails(t *testing.T) {
	c := newConsole()
	io.WriteString(c, "wanted\nlast")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := c.wait(canceled, is("wanted")); got != "wanted" || err != nil {
		t.Errorf("after the deadline: %q, %v", got, err)
	}
	c.end(io.EOF)
	if got, err := c.wait(t.Context(), is("last")); got != "last" || err != nil {
		t.Errorf("after the end: %q, %v", got, err)
	}
}

func TestFailureShowsTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("too slow"))
		defer cancel()
		c := newConsole()
		_, err := c.wait(ctx, never)
		if want := "waiting for a console line: too slow\nThe console is empty."; err == nil || err.Error() != want {
			t.Errorf("empty: %v", err)
		}
		io.WriteString(c, "first\n"+strings.Repeat("line\n", tailLines-1)+"\x1b[1mprompt# ")
		_, err = c.wait(ctx, never)
		want := "waiting for a console line: too slow\nThe console's last lines:\n    first" + strings.Repeat("\n    line", tailLines-1) + "\n    prompt#"
		if err == nil || err.Error() != want {
			t.Errorf("got %v", err)
		}
		io.WriteString(c, "\nline\n")
		if _, err = c.wait(ctx, never); err == nil || strings.Contains(err.Error(), "first") {
			t.Errorf("too many lines: %v", err)
		}
	})
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("a\r\n\x1b[31mb\x1b]0;t\x07\nc"), 3)
	f.Fuzz(func(t *testing.T, output []byte, cut int) {
		lines := func(chunks ...[]byte) []string {
			c := newConsole()
			for _, chunk := range chunks {
				c.Write(chunk)
			}
			c.end(io.EOF)
			return c.lines
		}
		cut = max(0, min(cut, len(output)))
		whole := lines(output)
		if split := lines(output[:cut], output[cut:]); !slices.Equal(whole, split) {
			t.Errorf("in one piece %q, in two %q", whole, split)
		}
		for _, line := range whole {
			if line == "" || strings.ContainsAny(line, "\r\n\x1b") {
				t.Errorf("line %q", line)
			}
		}
	})
}
