package kv

import (
	"container/list"
	"hash/maphash"
	"sync"
)

const (
	cacheShards    = 16
	maxCachedValue = 128 << 10
	entryOverhead  = 256 // of a cached key beside its bytes: the map's slot, the list's element, the entry
)

// cacheKey is a key in its namespace; numbers of namespaces are never used again.
type cacheKey struct {
	ns  int64
	key Key
}

// entry is what one key holds. It is immutable, and so are the bytes of its value. A key without a value is an entry
// too, so that asking for what is not there costs no SQL either.
type entry struct {
	present  bool
	expires  int64 // Unix seconds; 0 means never
	metadata string
	size     int64
	large    int64 // where set, the value is in chunks and data is empty
	data     []byte
}

var absent = &entry{}

// live returns e, or absent where it expired by now.
func (e *entry) live(now int64) *entry {
	if e.expires != 0 && e.expires <= now {
		return absent
	}
	return e
}

// cache is the values read or written lately, bounded by bytes.
//
// It is coherent because one connection writes and tells it of each commit before the writer hears of it, and because a
// value read from the file enters only if no commit touched its key since before it was read: see fill.
type cache struct {
	seed   maphash.Seed
	shards [cacheShards]shard
}

type shard struct {
	mu    sync.Mutex
	slots map[cacheKey]*list.Element // of *slot
	order list.List                  // most recently used first
	bytes int64
	limit int64
	fills map[cacheKey]*fill
}

type slot struct {
	key   cacheKey
	entry *entry
}

func (s *slot) cost() int64 {
	return entryOverhead + int64(len(s.key.key)+len(s.entry.metadata)+len(s.entry.data))
}

// fill is one read of a key from the file, under way. Readers that meet share it. A commit that touches the key makes it
// stale: its readers, who all came before that commit, still use what it brings, but it is not kept, and who comes later
// starts another.
type fill struct {
	stale bool // guarded by the shard
	done  chan struct{}
	entry *entry // set before done is closed
	err   error
}

func newCache(bytes int64) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].slots = map[cacheKey]*list.Element{}
		c.shards[i].fills = map[cacheKey]*fill{}
		c.shards[i].limit = bytes / cacheShards
	}
	return c
}

func (c *cache) shard(k cacheKey) *shard {
	return &c.shards[(maphash.String(c.seed, string(k.key))^uint64(k.ns))%cacheShards]
}

// get returns the entry for k, nil where none is cached.
func (c *cache) get(k cacheKey) *entry {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	el := s.slots[k]
	if el == nil {
		return nil
	}
	s.order.MoveToFront(el)
	return el.Value.(*slot).entry
}

// load returns the entry for k, which read brings where it is not cached.
func (c *cache) load(k cacheKey, read func() (*entry, error)) (e *entry, cached bool, err error) {
	s := c.shard(k)
	s.mu.Lock()
	if el := s.slots[k]; el != nil {
		s.order.MoveToFront(el)
		s.mu.Unlock()
		return el.Value.(*slot).entry, true, nil
	}
	f := s.fills[k]
	if f != nil {
		s.mu.Unlock()
		<-f.done
		return f.entry, false, f.err
	}
	f = &fill{done: make(chan struct{})}
	s.fills[k] = f
	s.mu.Unlock()

	f.entry, f.err = read()
	s.mu.Lock()
	if !f.stale {
		delete(s.fills, k)
		if f.err == nil {
			s.putLocked(k, f.entry)
		}
	}
	s.mu.Unlock()
	close(f.done)
	return f.entry, false, f.err
}

// set tells of a commit: k now holds e, or, where e is nil, something that has to be read anew. With fresh the entry is
// kept even if k was not cached before.
func (c *cache) set(k cacheKey, e *entry, fresh bool) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.fills[k]; f != nil {
		f.stale = true
		delete(s.fills, k)
	}
	el := s.slots[k]
	if e == nil || len(e.data) > maxCachedValue {
		s.removeLocked(el)
	} else if el != nil || fresh {
		s.putLocked(k, e)
	}
}

func (s *shard) putLocked(k cacheKey, e *entry) {
	s.removeLocked(s.slots[k])
	if len(e.data) > maxCachedValue {
		return
	}
	sl := &slot{k, e}
	s.slots[k] = s.order.PushFront(sl)
	s.bytes += sl.cost()
	for s.bytes > s.limit {
		s.removeLocked(s.order.Back())
	}
}

func (s *shard) removeLocked(el *list.Element) {
	if el == nil {
		return
	}
	sl := s.order.Remove(el).(*slot)
	delete(s.slots, sl.key)
	s.bytes -= sl.cost()
}
