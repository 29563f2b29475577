package os_test

import (
	"testing"
	"time"

	"github.com/ember-os/ember/os/stage"
	"github.com/ember-os/ember/os/vm"
	"github.com/ember-os/ember/os/vm/vmtest"
)

// TestClock has a machine believe that it is another year.
func TestClock(t *testing.T) {
	for _, year := range []int{1970, 2099} {
		t.Run(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Format("2006"), func(t *testing.T) {
			t.Parallel()
			l := startLab(t, lan("boot", "1"))
			c := config(t)
			c.Append = "ember.debug=shell"
			c.NICs = []vm.NIC{l.Port("boot")}
			c.RTC = time.Date(year, 1, 2, 3, 4, 5, 0, time.UTC)
			m := vmtest.Start(t, c)
			first := await(m, stage.Clock)
			if at, err := time.Parse(time.RFC3339, first.Get("now")); err != nil || at.Year() < 2026 || (first.Get("from") == "build") != (year == 1970) {
				t.Errorf("the first time is %v, %v", first, err)
			}
			if line := await(m, stage.Time); line.Get("source") != "10.0.1.1" {
				t.Errorf("the time is from %v", line)
			}
			at, err := time.Parse(time.RFC3339, ask(t, m, "date -u +%Y-%m-%dT%H:%M:%SZ"))
			if off := time.Since(at).Abs(); err != nil || off > time.Minute {
				t.Errorf("the clock shows %v, %v", at, err)
			}
			// What was logged before has the right time too.
			at, err = time.Parse(time.RFC3339Nano, ask(t, m, "ember log kernel | head -n 1 | cut -d' ' -f1"))
			if off := time.Since(at).Abs(); err != nil || off > 10*time.Minute {
				t.Errorf("the kernel's first line is of %v, %v", at, err)
			}
		})
	}
}
