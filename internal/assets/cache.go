package assets

import (
	"sync"
	"sync/atomic"
)

// cache keeps content in memory, at most max bytes, and throws out what was not used lately: it goes round its items, and
// those that were used since the last round get another one (the clock algorithm).
type cache struct {
	max int64

	mu    sync.RWMutex
	used  int64
	items map[cacheKey]*cacheItem
	ring  []*cacheItem
	hand  int
}

type cacheKey struct {
	hash   string
	coding coding
}

type cacheItem struct {
	key    cacheKey
	data   []byte // nil: known to be of no use
	recent atomic.Bool
}

// itemCost is what an item takes beside its data, about.
const itemCost = 256

func newCache(max int64) *cache { return &cache{max: max, items: map[cacheKey]*cacheItem{}} }

// get returns an item's data, and whether there is one.
func (c *cache) get(hash string, cd coding) ([]byte, bool) {
	c.mu.RLock()
	it := c.items[cacheKey{hash, cd}]
	c.mu.RUnlock()
	if it == nil {
		return nil, false
	}
	if !it.recent.Load() {
		it.recent.Store(true)
	}
	return it.data, true
}

// put keeps data, which nobody may change any more.
func (c *cache) put(hash string, cd coding, data []byte) {
	it := &cacheItem{key: cacheKey{hash, cd}, data: data}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[it.key] != nil || it.cost() > c.max {
		return
	}
	for c.used+it.cost() > c.max {
		c.evictLocked()
	}
	c.items[it.key] = it
	c.ring = append(c.ring, it)
	c.used += it.cost()
}

// evictLocked throws out one item. There is one: used is their sum, and more than none.
func (c *cache) evictLocked() {
	for {
		c.hand %= len(c.ring)
		it := c.ring[c.hand]
		if it.recent.Swap(false) {
			c.hand++
			continue
		}
		last := len(c.ring) - 1
		c.ring[c.hand], c.ring[last] = c.ring[last], nil
		c.ring = c.ring[:last]
		delete(c.items, it.key)
		c.used -= it.cost()
		return
	}
}

func (it *cacheItem) cost() int64 { return int64(len(it.data)) + itemCost }
