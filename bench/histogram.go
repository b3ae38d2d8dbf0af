package main

import (
	"math"
	"math/bits"
	"time"
)

// histogram counts durations in buckets of at most 1/64 of their value, so that a run's memory does not depend on its
// length. The zero histogram is empty.
type histogram struct {
	Counts []uint64 `json:"counts"`
	Max    time.Duration
	N      uint64
}

const subBits = 6 // buckets a power of two: 64

// bucket of a duration: exact below 64 ns, then its highest bit and the subBits after it.
func bucket(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// middle of a bucket.
func middle(i int) time.Duration {
	if i < 2<<subBits {
		return time.Duration(i)
	}
	shift := i>>subBits - 1
	low := uint64(i-shift<<subBits) << shift
	return time.Duration(low + 1<<shift/2)
}

func (h *histogram) add(d time.Duration) {
	i := bucket(d)
	for i >= len(h.Counts) {
		h.Counts = append(h.Counts, make([]uint64, i+1-len(h.Counts))...)
	}
	h.Counts[i]++
	h.N++
	h.Max = max(h.Max, d)
}

// quantile returns the duration that a part q of all does not exceed.
func (h *histogram) quantile(q float64) time.Duration {
	need := uint64(math.Ceil(q * float64(h.N)))
	var seen uint64
	for i, n := range h.Counts {
		if seen += n; seen >= need && n > 0 {
			return min(middle(i), h.Max)
		}
	}
	return h.Max
}
