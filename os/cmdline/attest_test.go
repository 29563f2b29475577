package cmdline

import (
	"reflect"
	"slices"
	"testing"
)

func TestAttest(t *testing.T) {
	for line, want := range map[string]Attest{
		"":                                     {},
		"ember.attest_url= ember.attest_pin=":  {},
		"ember.attest-url=https://a.example/b": {URL: "https://a.example/b"},
		"ember.attest_url=http://wrong ember.attest_pin=x,y ember.attest_pin=z,,": {URL: "http://wrong", Pins: []string{"z"}},
		"ember.overlay_key=k1,k2": {OverlayKeys: []string{"k1", "k2"}},
	} {
		if c, errs := Parse(line); !reflect.DeepEqual(c.Attest, want) || errs != nil {
			t.Errorf("%q is %+v, %v", line, c.Attest, errs)
		}
	}
	if c, _ := Parse("ember.attest_url=https://u:hush@a.example"); !slices.Contains(c.Secrets(), "hush") {
		t.Errorf("the secrets are %q", c.Secrets())
	}
}
