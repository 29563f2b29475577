package stage

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestGolden(t *testing.T) {
	for _, tt := range []struct {
		line Line
		want string
	}{
		{Line{Name: Ready}, "ember: stage=ready t=0.000"},
		{Line{Name: Start, T: 812 * time.Millisecond, Fields: []Field{{"version", "1.2"}, {"cpus", "2"}}},
			"ember: stage=start t=0.812 version=1.2 cpus=2"},
		{Line{Name: Failed, T: 100*time.Hour + time.Millisecond, Fields: []Field{{"error", `opening "a"` + "\n"}, {"empty", ""}, {"b", `\`}, {"u", "é\xff"}}},
			`ember: stage=failed t=360000.001 error="opening \"a\"\n" empty="" b="\\" u="\u00e9\xff"`},
	} {
		if got := tt.line.String(); got != tt.want {
			t.Errorf("String() = %s, want %s", got, tt.want)
		}
		for _, console := range []string{tt.want, tt.want + "\r\n", "[    0.5] x" + tt.want + "\r"} {
			if got, ok := Parse(console); !ok || !reflect.DeepEqual(got, tt.line) {
				t.Errorf("Parse(%q) = %+v, %v, want %+v", console, got, ok, tt.line)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"", "stage=ready t=0.1", "ember: stage=", "ember: stage=ready", "ember: stage=ready t=", "ember: stage=ready t=1",
		"ember: stage=ready t=1.5", "ember: stage=ready t=-1.500", "ember: stage=ready t=1.500 ", "ember: stage=ready t=1.500 x",
		"ember: stage=ready t=1.500 x=", "ember: stage=ready t=1.500 x=a  y=b", `ember: stage=ready t=1.500 x="a`,
		`ember: stage=ready t=1.500 x="a"b`, `ember: stage=ready t=1.500 x=a"b`, "ember: stage=ready t=1.500 X=a",
		"ember: stage=Ready t=1.500", "ember: stage=ready  t=1.500",
	} {
		if got, ok := Parse(line); ok {
			t.Errorf("Parse(%q) = %+v", line, got)
		}
	}
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	before := Now().Truncate(time.Millisecond)
	if err := Print(&b, Ready, Field{"a", "b c"}); err != nil {
		t.Fatal(err)
	}
	after := Now()
	l, ok := Parse(b.String())
	if !ok || l.Name != Ready || l.Get("a") != "b c" || l.Get("b") != "" || !strings.HasSuffix(b.String(), "\n") {
		t.Errorf("Print wrote %q", b.String())
	}
	if l.T < before || l.T > after {
		t.Errorf("time %v is not between %v and %v", l.T, before, after)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`ember: stage=failed t=1.234 error="a b" x=y`)
	f.Add("ember: stage=ready t=0.001\r\n")
	f.Fuzz(func(t *testing.T, line string) {
		l, ok := Parse(line)
		if !ok {
			return
		}
		again, ok := Parse(l.String())
		if !ok || !reflect.DeepEqual(again, l) {
			t.Errorf("Parse(%q) = %+v, written and read again %+v, %v", line, l, again, ok)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add("a \"b\"\n\xff")
	f.Fuzz(func(t *testing.T, value string) {
		want := Line{Name: Start, Fields: []Field{{"v", value}, {"w", value}}}
		if got, ok := Parse(want.String()); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%q came back as %+v, %v", value, got, ok)
		}
	})
}
