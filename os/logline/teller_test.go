package logline

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestTeller(t *testing.T) {
	var b strings.Builder
	log := New(&b, slog.LevelDebug)
	var teller Teller
	for range 9 {
		teller.Tell(log, slog.LevelWarn, "a", "x", 1)
		teller.Tell(log, slog.LevelInfo, "b")
	}
	teller.Reset()
	teller.Tell(log, slog.LevelWarn, "a")
	want := "<4>a x=1\n<6>b\n" + "<4>a x=1 times=2\n<6>b times=2\n" + "<4>a x=1 times=4\n<6>b times=4\n" + "<4>a x=1 times=8\n<6>b times=8\n" + "<4>a\n"
	if b.String() != want {
		t.Errorf("told:\n%s", &b)
	}
	for i := range 3 * tellerLimit {
		teller.Tell(log, slog.LevelInfo, fmt.Sprint(i))
	}
	if len(teller.times) > tellerLimit {
		t.Errorf("%d texts are remembered", len(teller.times))
	}
}
