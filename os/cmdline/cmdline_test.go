package cmdline

import (
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	word := func(name string) Arg { return Arg{Name: name, Bare: true} }
	pair := func(name, value string) Arg { return Arg{Name: name, Value: value} }
	for _, tt := range []struct {
		line string
		want []Arg
	}{
		{"", nil},
		{" \t\n\v\f\r\xa0", nil},
		{"quiet", []Arg{word("quiet")}},
		{"  a=1\tb=2\nquiet \n", []Arg{pair("a", "1"), pair("b", "2"), word("quiet")}},
		{"a=", []Arg{pair("a", "")}},
		{"a= b", []Arg{pair("a", ""), word("b")}},
		{"a=b=c", []Arg{pair("a", "b=c")}},
		{"=a", []Arg{word("=a")}},
		{"=a=b", []Arg{pair("=a", "b")}},
		{`a="b c" d`, []Arg{pair("a", "b c"), word("d")}},
		{`"a=b c" d`, []Arg{pair("a", "b c"), word("d")}},
		{`"a b" c`, []Arg{word("a b"), word("c")}},
		{`"a" b`, []Arg{word("a"), word("b")}},
		{`a=b" "c`, []Arg{pair("a", `b" "c`)}},
		{`a="b"c`, []Arg{pair("a", `b"c`)}},
		{`a="b c`, []Arg{pair("a", "b c")}},
		{`a="" b`, []Arg{pair("a", ""), word("b")}},
		{`a=" b`, []Arg{pair("a", " b")}},
		{`a="`, []Arg{pair("a", "")}},
		{`a""b=c`, []Arg{pair(`a""b`, "c")}},
		{`"`, []Arg{word("")}},
		{`""`, []Arg{word("")}},
		{`"" a`, []Arg{word(""), word("a")}},
		{`"a="b c" d`, []Arg{pair("a", "b"), word(`c" d`)}},
		{`a=\"b c\"`, []Arg{pair("a", `\"b c\"`)}},
		{"a=b\xa0c", []Arg{pair("a", "b"), word("c")}},
		{"\xff\xfe=\x01", []Arg{pair("\xff\xfe", "\x01")}},
		{"a\x00b", []Arg{word("a")}},
		{"-- a=b", []Arg{word("--"), pair("a", "b")}},
	} {
		if got := Split(tt.line); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Split(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	standard := Config{Log: slog.LevelInfo, Workload: WorkloadAuto}
	with := func(f func(*Config)) Config {
		c := standard
		f(&c)
		return c
	}
	for _, tt := range []struct {
		line string
		want Config
		errs []string
	}{
		{"", standard, nil},
		{"BOOT_IMAGE=vmlinuz quiet ro facility= -- single", standard, nil},
		{"ember.debug=shell", with(func(c *Config) { c.Debug.Shell = true }), nil},
		{"ember.debug=fail,panic", with(func(c *Config) { c.Debug = Debug{Fail: true, Panic: true} }), nil},
		{"ember.debug=shell ember.debug=fail", with(func(c *Config) { c.Debug.Fail = true }), nil},
		{"ember.debug=shell ember.debug=", standard, nil},
		{"ember.debug", standard, []string{"ember.debug: it needs a value; expected list of shell, fail, panic, separated by commas; ignored"}},
		{"ember.debug=shell,sehll", standard, []string{`ember.debug: "sehll" is not one of them`}},
		{"ember.debug=shell ember.debug=x", standard, []string{`ember.debug: "x" is not one of them`}},
		{"ember.log=debug", with(func(c *Config) { c.Log = slog.LevelDebug }), nil},
		{"ember.log=loud", standard, []string{`ember.log: `}},
		{"ember.log=loud ember.log=WARN", with(func(c *Config) { c.Log = slog.LevelWarn }), nil},
		{"ember.workload=none", with(func(c *Config) { c.Workload = WorkloadNone }), nil},
		{"ember.workload=None", standard, []string{`ember.workload: "None" is not one of them; expected auto, tinkerbell, services or none; using "auto"`}},
		{"panic=0", with(func(c *Config) { c.KernelPanic = true }), nil},
		{"a-b=1 ember.work-load=none", standard, []string{"ember.work-load: there is no such"}},
		{"-- ember.workload=services", with(func(c *Config) { c.Workload = WorkloadServices }), nil},
		{"ember.wrkload=none ember.", standard, []string{"ember.wrkload: there is no such", "ember.: there is no such"}},
		{"console=tty0 console= console=ttyS1,115200n8", with(func(c *Config) { c.Consoles = []string{"tty0", "ttyS1"} }), nil},
		{"pad=" + strings.Repeat("x", 4060) + " ember.debug=shell console=hvc0", with(func(c *Config) {
			c.Debug.Shell, c.Consoles = true, []string{"hvc0"}
		}), nil},
	} {
		got, errs := Parse(tt.line)
		if !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Parse(%q) = %+v, want %+v", tt.line, got, tt.want)
		}
		same := len(errs) == len(tt.errs)
		for i := range min(len(errs), len(tt.errs)) {
			same = same && strings.HasPrefix(errs[i].Error(), "kernel parameter "+tt.errs[i])
		}
		if !same {
			t.Errorf("Parse(%q) reports %v, want %q", tt.line, errs, tt.errs)
		}
	}
}

func TestNames(t *testing.T) {
	p := Param{Name: "a_b-c"}
	args := Split("a-b_c=1 a_b_c=2 a-b-c=3 ab-c=4")
	if got := p.given(args); !slices.Equal(got, args[2:3]) {
		t.Errorf("given %+v", got)
	}
	p.Repeats = true
	if got := p.given(args); !slices.Equal(got, args[:3]) {
		t.Errorf("given %+v", got)
	}
}

func TestParams(t *testing.T) {
	for i, p := range Params {
		if p.Name == "" || p.Type == "" || p.Doc == "" || p.set == nil {
			t.Errorf("%q is incomplete", p.Name)
		}
		if slices.ContainsFunc(Params[:i], func(q Param) bool { return same(p.Name, q.Name) }) {
			t.Errorf("%q is there twice", p.Name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`a="b c" "d=e f" ember.debug=shell,x ember.log= console=ttyS0,115200 "`)
	f.Fuzz(func(t *testing.T, line string) {
		_, errs := Parse(line)
		for _, a := range Split(line) {
			if a.Bare && a.Value != "" || !a.Bare && a.Name == "" {
				t.Errorf("impossible argument %+v", a)
			}
		}
		for _, err := range errs {
			if _, ok := err.(*Error); !ok {
				t.Errorf("%v is no *Error", err)
			}
		}
		again, _ := Parse(line + " ember.workload=none")
		if strings.Count(line, `"`) == 0 && !strings.Contains(line, "\x00") && again.Workload != WorkloadNone {
			t.Errorf("the last value does not count behind %q", line)
		}
	})
}

// FuzzSplit checks that quoting gives back any name and value that can be quoted.
func FuzzSplit(f *testing.F) {
	f.Add("name", "a value", "other")
	f.Fuzz(func(t *testing.T, name, value, after string) {
		plain := func(r rune) bool { return r == '"' || r == 0 || r == '=' || r < 256 && isSpace(byte(r)) }
		if name == "" || strings.ContainsFunc(name+after, plain) || strings.IndexByte(name+after, 0xa0) >= 0 ||
			strings.ContainsAny(value, "\"\x00") || after == "" {
			t.Skip()
		}
		want := []Arg{{Name: name, Value: value}, {Name: after, Bare: true}}
		for _, line := range []string{name + `="` + value + `" ` + after, `"` + name + "=" + value + `"` + "\n" + after} {
			if got := Split(line); !slices.Equal(got, want) {
				t.Errorf("Split(%q) = %+v, want %+v", line, got, want)
			}
		}
	})
}
