package kconfig

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

func fragment(t *testing.T, name string) *Fragment {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ParseFragment(name, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func fragments(t *testing.T) []*Fragment {
	return []*Fragment{fragment(t, "testdata/base.config"), fragment(t, "testdata/net.config")}
}

func requests(t *testing.T, fs ...*Fragment) []Request {
	t.Helper()
	rs, err := Merge(fs)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func parse(t *testing.T, name, text string) *Fragment {
	t.Helper()
	f, err := ParseFragment(name, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestGolden(t *testing.T) {
	fs := fragments(t)
	var all, doc bytes.Buffer
	if err := WriteAllconfig(&all, requests(t, fs...)); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/allconfig", all.Bytes())
	if err := WriteDoc(&doc, fs); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/doc.md", doc.Bytes())
	for _, f := range fs {
		var same bytes.Buffer
		if err := f.Write(&same); err != nil {
			t.Fatal(err)
		}
		golden(t, f.Name, same.Bytes())
	}
}

func TestMergedFileIsAConfig(t *testing.T) {
	var all bytes.Buffer
	rs := requests(t, fragments(t)...)
	if err := WriteAllconfig(&all, rs); err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig("allconfig", &all)
	if err != nil {
		t.Fatal(err)
	}
	if problems := Check(rs, c, nil); len(problems) > 0 || len(c) != len(rs) {
		t.Errorf("%d of %d options survived: %q", len(c), len(rs), problems)
	}
}

func TestParseErrors(t *testing.T) {
	for _, text := range []string{
		"CONFIG_A=",
		"CONFIG_A=yes",
		"CONFIG_A=y# no space",
		"CONFIG_A=y a reason",
		`CONFIG_A="open`,
		"config_A=y",
		"# CONFIG_A is not st",
		"# CONFIG_A=y",
		" CONFIG_A=y",
	} {
		if _, err := ParseFragment("f", strings.NewReader("\n"+text)); err == nil || !strings.HasPrefix(err.Error(), "f:2: ") {
			t.Errorf("%q: error %v", text, err)
		}
	}
	for _, text := range []string{"CONFIG_A=y\nCONFIG_A=y", "CONFIG_A=y # reason", "CONFIG_A"} {
		if _, err := ParseConfig("c", strings.NewReader(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestMergeNamesBothPlaces(t *testing.T) {
	_, err := Merge([]*Fragment{
		parse(t, "one", "CONFIG_A=y # a\n"),
		parse(t, "two", "\nCONFIG_A=n # b\nCONFIG_B=y # b\nCONFIG_B=y # b\n"),
	})
	want := "CONFIG_A is y at one:1 and n at two:2: keep one of them\n" +
		"CONFIG_B is y at two:3 and y at two:4: keep one of them"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCheckReasons(t *testing.T) {
	f := parse(t, "f", "CONFIG_A=y # because\nCONFIG_B=y\nCONFIG_C=y  #\nCONFIG_D=n  # TODO, as y it was: x\n")
	got := CheckReasons(requests(t, f))
	if len(got) != 3 || !strings.HasPrefix(got[0], "f:2: CONFIG_B ") || !strings.HasPrefix(got[2], "f:4: CONFIG_D ") {
		t.Errorf("got %q", got)
	}
}

func resolved(t *testing.T, text string) Config {
	t.Helper()
	c, err := ParseConfig("config", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func linux(t *testing.T) *Tree {
	t.Helper()
	tree, err := ReadTree(os.DirFS("testdata/linux"), "x86")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestCheckExplains(t *testing.T) {
	c := resolved(t, "CONFIG_X86=y\nCONFIG_NET=y\nCONFIG_NR_CPUS=64\nCONFIG_CHECKSUM=y\nCONFIG_HIDDEN=y\nCONFIG_EXPERT=y")
	f := parse(t, "f", `CONFIG_X86=y # met
CONFIG_CARD=y # r
CONFIG_CHECKSUM=n # r
CONFIG_HIDDEN=n # r
CONFIG_NONE=n # r
CONFIG_THUNK=y # r
CONFIG_PORT=y # r
CONFIG_FAST=y # r
CONFIG_FALSE_FRIEND=y # r
`)
	want := []string{
		`f:2: CONFIG_CARD: wanted y, got n: needs BUS and !EXPERT`,
		"f:3: CONFIG_CHECKSUM: wanted n, got y: selected by X86",
		"f:4: CONFIG_HIDDEN: wanted n, got y: it has no prompt, other symbols decide",
		"f:5: CONFIG_NONE: wanted n, got n: this kernel has no such symbol",
		"f:6: CONFIG_THUNK: wanted y, got n: it can be set: another value of its choice, or a range, overrules it",
		`f:7: CONFIG_PORT: wanted y, got n: needs BUS and m and !EXPERT`,
		"f:8: CONFIG_FAST: wanted y, got n: needs BUS",
		"f:9: CONFIG_FALSE_FRIEND: wanted y, got n: this kernel has no such symbol",
	}
	if got := Check(requests(t, f), c, linux(t)); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSave(t *testing.T) {
	before := resolved(t, "CONFIG_X86=y\nCONFIG_NR_CPUS=64\nCONFIG_MASK=0xb0\nCONFIG_HIDDEN=y")
	after := resolved(t, `CONFIG_X86=y
CONFIG_NR_CPUS=64
CONFIG_MASK=0xff
CONFIG_NET=y
CONFIG_CHECKSUM=y
CONFIG_BUS=y
CONFIG_SLOW=y
# CONFIG_FAST is not set
CONFIG_CARD=y`)
	base, net := parse(t, "base", "CONFIG_MASK=0xb0  # few\n"), parse(t, "net", "# Net.\n\n# CONFIG_CARD is not set  # none\n")
	written := Save([]*Fragment{base, net}, base, before, after, linux(t))

	var got bytes.Buffer
	for _, f := range []*Fragment{base, net} {
		if err := f.Write(&got); err != nil {
			t.Fatal(err)
		}
	}
	want := `CONFIG_MASK=0xff  # TODO, as 0xb0 it was: few
CONFIG_BUS=y  # TODO
CONFIG_NET=y  # TODO
CONFIG_SLOW=y  # TODO
# Net.

CONFIG_CARD=y  # TODO, as n it was: none
`
	if got.String() != want || len(written) != 5 {
		t.Errorf("%d written, got\n%s\nwant\n%s", len(written), got.String(), want)
	}
	if problems := CheckReasons(written); len(problems) != len(written) {
		t.Errorf("reasons were accepted: %q", problems)
	}
	if again := Save([]*Fragment{base, net}, base, after, after, linux(t)); len(again) > 0 {
		t.Errorf("nothing changed, yet %v", again)
	}
}
