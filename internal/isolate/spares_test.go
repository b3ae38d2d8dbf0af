package isolate

import (
	"testing"
	"time"
)

func TestDemand(t *testing.T) {
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	d := demand{least: 2, want: 2}
	missing := func(have int, when time.Duration, want int, wait time.Duration) {
		t.Helper()
		n, w := d.missing(have, at(when))
		if n != want || w != wait {
			t.Errorf("at %v with %d spares: %d are missing, wait %v; want %d, %v", when, have, n, w, want, wait)
		}
	}
	missing(0, 0, 2, 0)
	missing(1, 0, 1, 0)
	missing(2, 0, 0, calmAfter)

	d.take(2, at(0)) // one is left, so the processor is left to who took the other
	missing(1, 10*time.Millisecond, 0, 90*time.Millisecond)
	missing(1, 100*time.Millisecond, 1, 0)
	d.take(1, at(time.Second))
	missing(0, time.Second, 2, 0) // none is left

	for range 5 { // they run out
		d.take(0, at(2*time.Second))
	}
	missing(3, 2*time.Second, 0, refillAfter)
	missing(3, 3*time.Second, maxSpares-3, 0)
	missing(maxSpares, 3*time.Second, 0, calmAfter)

	missing(maxSpares, 2*time.Second+calmAfter, -maxSpares/2, 0) // they have sufficed for a while
	for m := 2; m < 5; m++ {
		d.missing(2, at(2*time.Second+time.Duration(m)*calmAfter))
	}
	missing(2, time.Hour, 0, calmAfter)
}
