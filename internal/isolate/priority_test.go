package isolate

import (
	"testing"
	"time"
)

func TestUsage(t *testing.T) {
	now := time.Unix(1e9, 0)
	var clocks spent
	var u usage
	// after lets wall time pass in looks, with a part of it used, and returns after how many the process yields or not.
	after := func(part, waits float64, every time.Duration, looks int) (changed int) {
		for i := range looks {
			now = now.Add(every)
			clocks.run += time.Duration(part * float64(every))
			clocks.wait += time.Duration(waits * float64(every))
			if u.look(now, clocks) && changed == 0 {
				changed = i + 1
			}
		}
		return changed
	}
	for _, c := range []struct {
		name    string
		part    float64
		waits   float64
		every   time.Duration
		looks   int
		least   int // looks until it changes; 0: it does not
		most    int
		yielded bool
	}{
		{"start", 1, 0, watchEvery, 1, 0, 0, false}, // what it used to load is nobody's
		{"little", 0.2, 0, watchEvery, 100, 0, 0, false},
		{"a-burst", 1, 0, watchEvery, 1, 0, 0, false},
		{"little-again", 0.1, 0, watchEvery, 20, 0, 0, false},
		{"much", 1, 0, watchEvery, 20, 2, 4, true},
		{"half", 0.4, 0, watchEvery, 100, 0, 0, true},
		{"little-at-last", 0.1, 0, watchEvery, 20, 2, 8, false},
		{"much-after-a-rest", 1, 0, watchEvery, 20, 2, 4, true},
		{"unwatched-and-idle", 0, 0, idleRounds * watchEvery, 1, 1, 1, false},
		{"unwatched-and-busy", 1, 0, idleRounds * watchEvery, 1, 1, 1, true},
		{"little-beside-many", 0.02, 0.6, watchEvery, 20, 1, 8, false},
		{"a-loop-beside-many", 0.1, 0.9, watchEvery, 20, 2, 4, true},
	} {
		got := after(c.part, c.waits, c.every, c.looks)
		if got < c.least || got > c.most || u.yielding != c.yielded {
			t.Errorf("%s: changed after %d looks, yields %v at %.2f", c.name, got, u.yielding, u.part)
		}
	}
	if u.look(now, clocks) {
		t.Error("no time changes something")
	}
}
