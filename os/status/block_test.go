package status

import (
	"reflect"
	"strings"
	"testing"
)

func TestRow(t *testing.T) {
	long := strings.Repeat("x", width)
	for _, tt := range []struct {
		items []string
		want  block
	}{
		{nil, nil},
		{[]string{"", " "}, nil},
		{[]string{"a b", "", "c"}, block{"label     a b, c"}},
		{[]string{"\x1b[1mbold é\n"}, block{"label     ?[1mbold ??"}},
		{[]string{long}, block{"label     " + long[:63], "          " + long[:10]}},
		{[]string{"a", long, "b"}, block{"label     a,", "          " + long[:63], "          " + long[:10] + ", b"}},
		{[]string{long[:63], "b"}, block{"label     " + long[:63], "          , b"}},
		{[]string{long[:60], "b c"}, block{"label     " + long[:60] + ",", "          b c"}},
		{[]string{"a", "b " + long[:62]}, block{"label     a, b", "          " + long[:62]}},
		{[]string{long[:62], "b"}, block{"label     " + long[:62] + ",", "          b"}},
		{[]string{long[:31], long[:30] + "y"}, block{"label     " + long[:31] + ",", "          " + long[:30] + "y"}},
		{[]string{long[:31], long[:30]}, block{"label     " + long[:31] + ", " + long[:30]}},
	} {
		var b block
		b.row("label", tt.items...)
		if !reflect.DeepEqual(b, tt.want) {
			t.Errorf("%q:\n%q, want\n%q", tt.items, b, tt.want)
		}
	}
}

func FuzzRow(f *testing.F) {
	f.Add("disk", "sda", strings.Repeat("é ", 99))
	f.Fuzz(func(t *testing.T, label, x, y string) {
		var b block
		b.row(label[:min(len(label), indent)], x, y)
		for _, line := range b {
			if len(line) > width {
				t.Errorf("%q is longer than %d", line, width)
			}
		}
	})
}

func TestSizes(t *testing.T) {
	for bytes, want := range map[uint64][2]string{
		0: {"0 B", "0 B"}, 479559942144: {"479.6 GB", "446.6 GiB"}, 1 << 30: {"1.1 GB", "1 GiB"}, 1e18: {"1000 PB", "888.2 PiB"},
	} {
		if got := [2]string{diskSize(bytes), memorySize(bytes)}; got != want {
			t.Errorf("%d: %q, want %q", bytes, got, want)
		}
	}
}
