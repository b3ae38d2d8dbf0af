package engine

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Meter bounds the memory of one connection: what SQLite has allocated for it, and what its caller adds. An allocation
// beyond the bound fails, and with it the statement; nobody else's does.
//
// SQLite's own bound (sqlite3_hard_heap_limit64) is the process's, so one tenant's query would fail another's.
type Meter struct {
	limit  int64
	pool   *Pool
	used   atomic.Int64
	shared int64 // what was taken from the pool
	failed bool
}

// Pool is what several meters take from, once they have used their free part.
type Pool struct {
	Limit  int64
	Parent *Pool // may be nil
	used   atomic.Int64
}

// freeMemory is what any connection may use whatever others do, so that a small query works while the pool is empty.
const freeMemory = 4 << 20

// maxAllocation is the largest piece of memory that SQLite gets, as in Cloudflare's engine.
const maxAllocation = 16 << 20

// NewMeter returns a meter for one connection. The pool may be nil.
func NewMeter(limit int64, pool *Pool) *Meter { return &Meter{limit: limit, pool: pool} }

// Settle gives back to the pool what is not used any more, and tells whether something was refused since the last time.
// It is called between calls.
func (m *Meter) Settle() (failed bool) {
	if need := max(0, m.used.Load()-freeMemory); need < m.shared {
		m.pool.Give(m.shared - need)
		m.shared = need
	}
	failed, m.failed = m.failed, false
	return failed
}

// Used is what is allocated.
func (m *Meter) Used() int64 { return m.used.Load() }

// Take counts n more bytes, and tells whether there may be so many.
func (m *Meter) Take(n int64) bool {
	used := m.used.Add(n)
	if want := used - freeMemory - m.shared; want > 0 {
		want = max(want, 1<<20) // so that small pieces do not ask the pool each
		if used > m.limit || !m.pool.Take(want) {
			m.used.Add(-n)
			m.failed = true
			return false
		}
		m.shared += want
	}
	return true
}

// Give counts n bytes less.
func (m *Meter) Give(n int64) { m.used.Add(-n) }

// Take takes n bytes from the pool and from those above it, and tells whether there were so many.
func (p *Pool) Take(n int64) bool {
	if p == nil {
		return true
	}
	if p.used.Add(n) > p.Limit || !p.Parent.Take(n) {
		p.used.Add(-n)
		return false
	}
	return true
}

// Used is how many bytes of the pool are taken.
func (p *Pool) Used() int64 { return p.used.Load() }

// Give gives n bytes back.
func (p *Pool) Give(n int64) {
	for ; p != nil; p = p.Parent {
		p.used.Add(-n)
	}
}

// owner is a meter with the number that marks its allocations. SQLite hands its allocator the thread, of which each Conn
// has one of its own; but another connection may free a page that it took over from a shared cache.
type owner struct {
	id uint32
	*Meter
}

var (
	byThread sync.Map // *libc.TLS: owner
	byNumber sync.Map // uint32: *Meter
	numbers  atomic.Uint32
)

func register(tls *libc.TLS, m *Meter) {
	if m != nil {
		o := owner{numbers.Add(1), m}
		byNumber.Store(o.id, m)
		byThread.Store(tls, o)
	}
}

func unregister(tls *libc.TLS) {
	if v, ok := byThread.LoadAndDelete(tls); ok {
		o := v.(owner)
		byNumber.Delete(o.id)
		o.pool.Give(o.shared)
		o.shared = 0
		o.used.Store(0) // what others have taken over is theirs
	}
}

// SQLite uses this file's allocator, for all of the process. It takes one only before its first use, whoever uses it first,
// hence while the program starts.
var _ = install()

func install() bool {
	tls := libc.NewTLS()
	defer tls.Close()
	size := unsafe.Sizeof(sqlite3.Tsqlite3_mem_methods{})
	mem := libc.Xcalloc(tls, 1, libc.Tsize_t(size)+16)
	if mem == 0 {
		panic("engine: out of memory")
	}
	defer libc.Xfree(tls, mem)
	*at[sqlite3.Tsqlite3_mem_methods](mem) = sqlite3.Tsqlite3_mem_methods{
		FxMalloc: callback(malloc), FxFree: callback(release), FxRealloc: callback(realloc), FxSize: callback(sizeOf),
		FxRoundup: callback(roundUp), FxInit: callback(start), FxShutdown: callback(stop),
	}
	if rc := sqlite3.Xsqlite3_config(tls, sqlite3.SQLITE_CONFIG_MALLOC, libc.VaList(mem+size, mem)); rc != sqlite3.SQLITE_OK {
		panic("engine: SQLite was used before its allocator could be replaced")
	}
	return true
}

// Before each piece of memory are its size and its owner.
const header = 8

func start(*libc.TLS, uintptr) int32 { return sqlite3.SQLITE_OK }
func stop(*libc.TLS, uintptr)        {}

func roundUp(_ *libc.TLS, n int32) int32 { return (n + 7) &^ 7 }

func sizeOf(_ *libc.TLS, p uintptr) int32 {
	if p == 0 {
		return 0
	}
	return *at[int32](p - header)
}

func ownerOf(p uintptr) *Meter {
	if id := *at[uint32](p - 4); id != 0 {
		if m, ok := byNumber.Load(id); ok {
			return m.(*Meter)
		}
	}
	return nil
}

func malloc(tls *libc.TLS, n int32) uintptr {
	var o owner
	if v, ok := byThread.Load(tls); ok {
		o = v.(owner)
		if n > maxAllocation || !o.Take(int64(n)) {
			o.failed = true
			return 0
		}
	}
	p := libc.Xmalloc(tls, libc.Tsize_t(n)+header)
	if p == 0 {
		if o.Meter != nil {
			o.Give(int64(n))
		}
		return 0
	}
	p += header
	*at[int32](p - header), *at[uint32](p - 4) = n, o.id
	return p
}

func release(tls *libc.TLS, p uintptr) {
	if m := ownerOf(p); m != nil {
		m.Give(int64(sizeOf(tls, p)))
	}
	libc.Xfree(tls, p-header)
}

func realloc(tls *libc.TLS, p uintptr, n int32) uintptr {
	more := int64(n) - int64(sizeOf(tls, p))
	m := ownerOf(p)
	if m != nil && (n > maxAllocation || more > 0 && !m.Take(more)) {
		m.failed = true
		return 0
	}
	q := libc.Xrealloc(tls, p-header, libc.Tsize_t(n)+header)
	if q == 0 {
		if m != nil && more > 0 {
			m.Give(more)
		}
		return 0
	}
	if m != nil && more < 0 {
		m.Give(-more)
	}
	*at[int32](q) = n
	return q + header
}
