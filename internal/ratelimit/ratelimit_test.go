package ratelimit

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

const one, two = atoll.AccountID("one"), atoll.AccountID("two")

// TestAgainstModel asks for keys at random and compares with a count of each in its period.
func TestAgainstModel(t *testing.T) {
	var c Counters
	type counted struct {
		account   atoll.AccountID
		namespace string
		period    int64
		key       string
		epoch     int64
	}
	model := map[counted]int64{}
	at := time.Unix(1_700_000_000, 0)
	allowed := 0
	for range 20_000 {
		at = at.Add(time.Duration(rand.IntN(300)) * time.Millisecond)
		l := Limit{Count: 1 + rand.Int64N(4), Period: []int64{10, 60}[rand.IntN(2)]}
		k := counted{[]atoll.AccountID{one, two}[rand.IntN(2)], fmt.Sprint(rand.IntN(3)), l.Period, fmt.Sprint(rand.IntN(20)), at.Unix() / l.Period}
		want := model[k] < l.Count
		if want {
			model[k]++
			allowed++
		}
		if got := c.Allow(k.account, k.namespace, k.key, l, at); got != want {
			t.Fatalf("%+v of %+v: %v", k, l, got)
		}
	}
	if allowed < 1000 || allowed > 19_000 {
		t.Errorf("%d of 20000 were allowed", allowed)
	}
}

// However many keys there are, memory has a bound, an invented key is held back, and one that was there before is not.
func TestFlood(t *testing.T) {
	var c Counters
	at, l := time.Unix(1_700_000_000, 0), Limit{Count: 5, Period: 60}
	c.Allow(one, "n", "honest", l, at)
	allowed := 0
	for i := range 200_000 {
		if c.Allow(one, "n", fmt.Sprint(i), l, at) {
			allowed++
		}
	}
	w := c.spaces[space{one, "n", 60}]
	if n := len(w.keys) + len(w.shared); n > maxKeys+maxShared {
		t.Errorf("%d counters", n)
	}
	if most := maxKeys + maxShared*int(l.Count); allowed > most {
		t.Errorf("%d of 200000 invented keys were allowed, want at most %d", allowed, most)
	}
	if !c.Allow(one, "n", "honest", l, at) || !c.Allow(two, "n", "new", l, at) {
		t.Error("the flood holds others back")
	}
	c.Allow(two, "other", "x", l, at.Add(2*time.Minute))
	if len(c.spaces) != 1 {
		t.Errorf("%d namespaces are remembered", len(c.spaces))
	}
}
