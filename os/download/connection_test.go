package download

import "testing"

func TestContentRange(t *testing.T) {
	for s, want := range map[string][2]int64{
		"bytes 0-0/1": {0, 1}, "bytes 5-9/10": {5, 10}, "bytes 5-9/*": {5, -1}, "bytes 0-9223372036854775806/9223372036854775807": {0, 1<<63 - 1},
	} {
		if first, size, ok := contentRange(s); !ok || first != want[0] || size != want[1] {
			t.Errorf("%q: %d, %d, %v", s, first, size, ok)
		}
	}
	for _, s := range []string{
		"", "bytes", "bytes */10", "bytes 5/10", "bytes 5-", "bytes 5-9", "bytes 9-5/10", "bytes -5-9/10", "bytes 5-9/9", "bytes 5-9/-1",
		"bytes 5-9/x", "items 5-9/10", "bytes 5-9/9223372036854775808",
	} {
		if _, _, ok := contentRange(s); ok {
			t.Errorf("%q is a range", s)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-9/*")
	f.Fuzz(func(t *testing.T, s string) {
		if first, size, ok := contentRange(s); ok && (first < 0 || size != -1 && size <= first) {
			t.Errorf("%q: %d of %d", s, first, size)
		}
	})
}
