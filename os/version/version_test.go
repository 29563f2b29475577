package version

import (
	"testing"
	"time"
)

func TestBuilt(t *testing.T) {
	defer func(before string) { Date = before }(Date)
	for date, want := range map[string]time.Time{
		"":                     {},
		"0":                    {},
		"-5":                   {},
		"yesterday":            {},
		"99999999999999999999": {},
		"1800000000":           time.Date(2027, 1, 15, 8, 0, 0, 0, time.UTC),
	} {
		Date = date
		if got := Built(); got != want {
			t.Errorf("%q: %v, want %v", date, got, want)
		}
	}
}
