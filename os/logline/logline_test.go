package logline

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]Line{
		"<3>no disk":  {Error, "no disk"},
		"<7>":         {Debug, ""},
		"<8>text":     {Info, "<8>text"},
		"<30>text":    {Info, "<30>text"},
		"text":        {Info, "text"},
		"":            {Info, ""},
		"<3":          {Info, "<3"},
		"<0>\x00\xff": {Emergency, "\x00\xff"},
	} {
		if got := Parse(line); got != want {
			t.Errorf("Parse(%q) = %v, want %v", line, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("<3>no disk")
	f.Fuzz(func(t *testing.T, line string) {
		if l := Parse(line); !strings.Contains(line, "\n") && Parse(l.String()) != l {
			t.Errorf("%q is read as %v, which is written %q", line, l, l.String())
		}
	})
}

func TestNew(t *testing.T) {
	var b bytes.Buffer
	log := New(&b, slog.LevelInfo)
	log.Debug("nobody reads this")
	log.Info("lease renewed", "link", "eth0", "hours", 12)
	log.With("link", "eth1").WithGroup("dhcp").Warn("no answer\nat all", "msg", "none", "err", errors.New("timed out"))
	log.Error("gone")
	log.Error("\x1b[2J\xffa unit's own words: ä", "name", "\x1b[2J")
	want := "<6>lease renewed link=eth0 hours=12\n" +
		"<4>no answer at all link=eth1 dhcp.msg=none dhcp.err=\"timed out\"\n" +
		"<3>gone\n" +
		"<3>?[2J?a unit's own words: ä name=\"\\x1b[2J\"\n"
	if b.String() != want {
		t.Errorf("logged\n%swant\n%s", &b, want)
	}
}

func TestHuman(t *testing.T) {
	for line, want := range map[string]string{
		"<6>up": "up", "<5>up": "up", "<4>down": "warning: down", "<3>gone": "error: gone",
	} {
		if got := Parse(line).Human(); got != want {
			t.Errorf("%q is shown as %q, want %q", line, got, want)
		}
	}
	if Warning.Level() != slog.LevelWarn || Notice.Level() != slog.LevelInfo || Emergency.Level() != slog.LevelError || Debug.Level() != slog.LevelDebug {
		t.Error("levels and severities do not agree")
	}
}
