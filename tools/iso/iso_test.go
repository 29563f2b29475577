package iso

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// wanted is the SHA-256 of the string that Tinkerbell's server looks for by default.
const wanted = "252feaf619f32ca02d967c78c9fa1434c4c70c7774bf038e1de2fafbc5e88a78"

func TestPlaceholder(t *testing.T) {
	if sum := sha256.Sum256([]byte(Placeholder)); hex.EncodeToString(sum[:]) != wanted || len(Placeholder) != 1024 {
		t.Errorf("%d characters with digest %x", len(Placeholder), sum)
	}
}

func TestConfig(t *testing.T) {
	got, err := Config(" console=tty0  console=ttyS0,115200 retain_initrd ")
	if err != nil {
		t.Fatal(err)
	}
	want := `set timeout=2
set timeout_style=hidden
menuentry Ember {
	linux /boot/vmlinuz console=tty0 console=ttyS0,115200 retain_initrd PLACEHOLDER
	initrd /boot/initramfs
}
`
	if got := strings.ReplaceAll(string(got), Placeholder, "PLACEHOLDER"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestConfigRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"a\nb":                    "not one line",
		"a=é":                     "not one line",
		"a=$root":                 `has a '$'`,
		`a="b c"`:                 `has a '"'`,
		"a;reboot":                `has a ';'`,
		strings.Repeat("a", 1000): "too long",
	} {
		if _, err := Config(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, not %q", line, err, want)
		}
	}
}

// A configuration is one sector, one line of it ours, whatever the command line.
func FuzzConfig(f *testing.F) {
	f.Add("console=ttyS0")
	f.Add("a=b \\ # ' \"")
	f.Fuzz(func(t *testing.T, line string) {
		got, err := Config(line)
		if err != nil {
			return
		}
		if len(got) > 2048 || strings.Count(string(got), "\n") != 6 || strings.Count(string(got), Placeholder) != 1 {
			t.Errorf("%q gives %q", line, got)
		}
	})
}
