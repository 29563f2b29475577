package kconfig

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func FuzzParseFragment(f *testing.F) {
	for _, name := range []string{"testdata/base.config", "testdata/net.config"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		frag, err := ParseFragment("f", strings.NewReader(text))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := frag.Write(&out); err != nil {
			t.Fatal(err)
		}
		var want strings.Builder
		for l := range strings.Lines(text) {
			want.WriteString(strings.TrimSuffix(strings.TrimSuffix(l, "\n"), "\r") + "\n")
		}
		if out.String() != want.String() {
			t.Errorf("%q became %q", text, out.String())
		}
		for _, r := range frag.Requests() {
			c, err := ParseConfig("c", strings.NewReader(r.Option.String()))
			if err != nil || c.Get(r.Symbol) != r.Value {
				t.Errorf("%v became %v, %v", r.Option, c, err)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"\\\"#\"\nCONFIG_D=-1\nCONFIG_E=0x1f\n")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig("c", strings.NewReader(text))
		if err != nil {
			return
		}
		for symbol, value := range c {
			opt := Option{symbol, value}
			if again, err := ParseConfig("c", strings.NewReader(opt.String())); err != nil || again.Get(symbol) != value {
				t.Errorf("%v became %v, %v", opt, again, err)
			}
		}
	})
}

func FuzzReadTree(f *testing.F) {
	for _, name := range []string{"Kconfig", "arch/x86/Kconfig", "net/Kconfig"} {
		text, err := os.ReadFile("testdata/linux/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		tree, err := ReadTree(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "x86")
		if err != nil {
			return
		}
		for symbol := range tree.definitions {
			tree.Explain(symbol, Config{})
		}
	})
}

func FuzzExpr(f *testing.F) {
	for _, s := range []string{"A && !(B || C) # c", `X = "y" && N >= 4`, "$(f,(a),b) != m", "!!A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseExpr(text)
		if err != nil {
			return
		}
		again, err := parseExpr(e.String())
		if err != nil {
			t.Fatalf("%q became %q: %v", text, e, err)
		}
		c := Config{"A": "y", "B": "m", "N": "8"}
		if again.String() != e.String() || again.eval(c) != e.eval(c) {
			t.Errorf("%q became %q", e, again)
		}
	})
}
