package page

import (
	"testing"
	"time"

	"github.com/ember-os/ember/attest/store"
)

func TestTimeline(t *testing.T) {
	if tl := newTimeline("x", []string{"no stage", ""}); tl != nil {
		t.Errorf("of nothing: %+v", tl)
	}
	tl := newTimeline("x", stages)
	if !tl.Ready || tl.Total != 20871*time.Millisecond || len(tl.Steps) != len(stages) {
		t.Fatalf("%v in %d steps, ready %v", tl.Total, len(tl.Steps), tl.Ready)
	}
	var names []string
	end := 0.0
	took := time.Duration(0)
	for _, row := range tl.Rows {
		names = append(names, row.Name)
		if row.X < end-1 || row.W <= 0 || row.X+row.W > 100.01 {
			t.Errorf("%s is from %.2f to %.2f", row.Name, row.X, row.X+row.W)
		}
		end = row.X + row.W
		took += row.Took
	}
	if len(names) != 6 || names[0] != kernel || names[1] != "devices to ready, 11 stages" || names[5] != "agent" {
		t.Errorf("rows %q", names)
	}
	if took != tl.Total {
		t.Errorf("the rows are %v of %v", took, tl.Total)
	}
	long := 0
	for _, row := range tl.Rows {
		if row.Long {
			long++
		}
	}
	if long != 3 {
		t.Errorf("%d are marked as the longest", long)
	}
	// Lines out of order, and a boot that ended badly.
	bad := newTimeline("x", []string{"ember: stage=failed t=2.000 step=root", "ember: stage=start t=1.000"})
	if bad.Steps[1].Name != "failed" || !bad.Steps[1].Bad || bad.Steps[1].Took != time.Second || bad.Ready {
		t.Errorf("%+v", bad.Steps)
	}
	if one := newTimeline("x", []string{"ember: stage=start t=0.000"}); len(one.Rows) != 1 || one.Rows[0].X+one.Rows[0].W > 100 {
		t.Errorf("at the very beginning: %+v", one.Rows)
	}
}

func TestChanged(t *testing.T) {
	now, before := evidence(now, true), evidence(now, false)
	i := changed(&now, &before)
	if i < 0 || now.Events[i].Type != 0x80000003 {
		t.Errorf("event %d", i)
	}
	if i := changed(&before, &before); i != -1 {
		t.Errorf("of the same log: event %d", i)
	}
	longer := evidence(time.Time{}, true)
	longer.Events = append(longer.Events[:14:14], longer.Events[14:]...)
	longer.Events = append(longer.Events, store.Event{PCR: 4, Digest: digest("more")})
	longer.Events[14].Digest = before.Events[14].Digest
	if i := changed(&longer, &before); i != len(longer.Events)-1 {
		t.Errorf("one more event: %d of %d", i, len(longer.Events))
	}
	now.Omitted = 1
	if i := changed(&now, &before); i != -1 {
		t.Errorf("of a log that is not whole: event %d", i)
	}
}
