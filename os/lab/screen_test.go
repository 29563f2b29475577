package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ember-os/ember/os/lab/cast"
)

// TestScreen has two screens, of which only one understands looks, and a recording of what they show.
func TestScreen(t *testing.T) {
	var with, without, recorded bytes.Buffer
	for _, test := range []struct {
		out   *bytes.Buffer
		looks bool
		want  string
	}{
		{&with, true, "^\n\x1b\\[1m 3  a step\x1b\\[0m\n" +
			"\x1b\\[2m +0\\.\\d s\x1b\\[0m  machine     is on\x1b\\[0m\n" +
			"\x1b\\[2m +0\\.\\d s\x1b\\[0m  \x1b\\[32mseen        it x+…\x1b\\[0m\n$"},
		{&without, false, "^\n 3  a step\n +0\\.\\d s  machine     is on\n +0\\.\\d s  seen        it x+…\n$"},
	} {
		s := newScreen(test.out, test.looks)
		if !test.looks {
			if err := s.recordTo(&recorded); err != nil {
				t.Fatal(err)
			}
		}
		s.heading(3, "a step")
		s.say("machine", "is %s", "on")
		s.saw("it " + strings.Repeat("x", 2*width))
		if !regexp.MustCompile(test.want).MatchString(test.out.String()) {
			t.Errorf("the screen shows %q", test.out)
		}
	}
	for line := range strings.Lines(without.String()) {
		if n := len([]rune(line)); n > width {
			t.Errorf("a line has %d characters", n)
		}
	}
	r, err := cast.Read(&recorded)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, l := range r.Lines {
		text.WriteString(l.String() + "\n")
	}
	if text.String() != without.String() || !r.Lines[1].Spans[0].Bold {
		t.Errorf("recorded is %q", text.String())
	}
}

func TestTable(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("it – too ", 10))
	got := tableOf([]took{{"first", "it happened", 1500 * time.Millisecond}, {"second", long, time.Minute}})
	want := cast.Bold + "     step                       time  what was seen\n" + cast.Plain +
		"  1  first                     1.5 s  it happened\n" +
		"  2  second                   60.0 s  it – too it – too it – too it – too it – too it – too it – too it – too\n" +
		"                                      it – too it – too\n" +
		"     all of it                61.5 s  \n"
	if got != want {
		t.Errorf("the table is\n%s\nnot\n%s", got, want)
	}
	for line := range strings.Lines(strings.NewReplacer(cast.Bold, "", cast.Plain, "").Replace(got)) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > width {
			t.Errorf("a line has %d characters: %s", n, line)
		}
	}
}

// TestConsole has a machine print in pieces. All of it is kept, and the stages that matter are shown.
func TestConsole(t *testing.T) {
	const printed = "BdsDxe: starting Boot0003 \"Ember A\" from HD(1,GPT)\r\nember: stage=start t=1.799 version=0.1.0 kernel=6.12\r\n\r\nember: stage=tree t=1.882 entries=565\r\n" +
		"ember: stage=boot t=2.000 phase=waiting from=disk wait=2s why=\"bad.service has \\x1b failed\"\r\n\x1b[2Jlogin"
	for _, all := range []bool{false, true} {
		var out bytes.Buffer
		path := filepath.Join(t.TempDir(), "console.log")
		c, err := newConsole(path, newScreen(&out, false), all)
		if err != nil {
			t.Fatal(err)
		}
		c.mark("switched on")
		for text := printed; text != ""; {
			n := min(7, len(text))
			c.Write([]byte(text[:n]))
			text = text[n:]
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != "\r\n=== switched on\r\n"+printed {
			t.Errorf("kept is %q, %v", b, err)
		}
		text := regexp.MustCompile(" +[0-9.]+ s  ").ReplaceAllString(out.String(), "")
		for want, shown := range map[string]bool{
			"machine     start: version=0.1.0 kernel=6.12\n":                                   true,
			"machine     boot: phase=waiting from=disk why=\"bad.service has \\x1b failed\"\n": true,
			"machine     tree": false,
			"firmware    starting Boot0003 \"Ember A\"\n": true,
			"    | BdsDxe: starting Boot":                 all,
			"    | ember: stage=tree t=1.882 ent":         all,
		} {
			if strings.Contains(text, want) != shown {
				t.Errorf("with all=%v is shown\n%s\n%q should be in it: %v", all, text, want, shown)
			}
		}
	}
}
