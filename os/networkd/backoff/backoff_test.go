package backoff

import (
	"math"
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	for attempts, want := range map[int]time.Duration{0: 1, 1: 2, 5: 32, 6: 64, 7: 64, math.MaxInt: 64} {
		for range 100 {
			got := Wait(time.Second, 64*time.Second, attempts)
			if want *= time.Second; got < want*3/4 || got > want*5/4 {
				t.Fatalf("%v behind %d attempts, want about %v", got, attempts, want)
			}
			want /= time.Second
		}
	}
}
