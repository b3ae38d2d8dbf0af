// Package ratelimit counts for Workers' rate limiting bindings: how often a key of a namespace has been asked for within a
// period. https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/
//
// It counts on this node, in memory, and forgets when the node ends. Periods are aligned to the clock, so a key that uses
// its limit up at the end of one has a new one right after.
//
// Invariant: memory is bounded. Of a namespace, maxKeys are counted one by one in a period; further keys share counters, a
// few thousand of them, so that a flood of invented keys is held back rather than let through. A key that was counted
// before the flood keeps its own counter.
//
// Concurrency: a Counters may be used from any number of goroutines.
package ratelimit

import (
	"hash/maphash"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Limit is how often a key may be asked for in a period.
type Limit struct {
	Count  int64 `json:"limit"`
	Period int64 `json:"period"` // seconds
}

const (
	maxKeys   = 50_000 // of a namespace and period that are counted one by one
	maxShared = 4096   // counters of all further ones
)

// Counters are the counters of a node. The zero value has counted nothing.
type Counters struct {
	mu     sync.Mutex
	spaces map[space]*window
	swept  time.Time
	seed   maphash.Seed
	seeded bool
}

// space is a namespace of an account, and one of the periods that are counted in it: bindings with the same namespace and
// period share counters, whatever their limits.
type space struct {
	account   atoll.AccountID
	namespace string
	period    int64
}

// window is the counts of one period.
type window struct {
	epoch  int64
	keys   map[uint64]int64
	shared map[uint64]int64
}

// Allow counts a key, and reports whether it is within its limit. One that is not is not counted.
func (c *Counters) Allow(account atoll.AccountID, namespace, key string, l Limit, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.seeded {
		c.seed, c.seeded, c.spaces = maphash.MakeSeed(), true, map[space]*window{}
	}
	c.sweepLocked(now)
	at := space{account, namespace, l.Period}
	epoch := now.Unix() / l.Period
	w := c.spaces[at]
	if w == nil || w.epoch != epoch {
		w = &window{epoch: epoch, keys: map[uint64]int64{}}
		c.spaces[at] = w
	}
	hash := maphash.String(c.seed, key)
	counts := w.keys
	if _, known := counts[hash]; !known && len(counts) >= maxKeys {
		if w.shared == nil {
			w.shared = map[uint64]int64{}
		}
		counts, hash = w.shared, hash%maxShared
	}
	if counts[hash] >= l.Count {
		return false
	}
	counts[hash]++
	return true
}

// sweepEvery is how often namespaces that are asked for no more are forgotten.
const sweepEvery = 10 * time.Second

func (c *Counters) sweepLocked(now time.Time) {
	if now.Sub(c.swept) < sweepEvery {
		return
	}
	c.swept = now
	for at, w := range c.spaces {
		if w.epoch != now.Unix()/at.period {
			delete(c.spaces, at)
		}
	}
}
