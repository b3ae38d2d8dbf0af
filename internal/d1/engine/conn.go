// Package engine runs SQL that nobody trusts on a SQLite file: one connection, with an authorizer that knows what D1
// allows, D1's limits, a bound on memory, and a way to stop it at any time.
//
// It knows nothing of databases' names, tenants, transactions or HTTP; package d1 has those. It speaks to the SQLite of
// modernc.org/sqlite directly and not through database/sql, which has no authorizer, no limits of a call's memory, and no
// counts of rows.
//
// Invariant: SQL that runs here reaches the one file that was opened, and nothing else of the machine.
//
// A Conn and its Stmts belong to one goroutine at a time; several may share the package.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Limits are SQLite's own for a connection. https://developers.cloudflare.com/d1/platform/limits/ has the first four; the
// others are those of Cloudflare's engine, where they are not documented.
const (
	MaxSQL     = 100_000   // bytes of one statement
	MaxValue   = 2_000_000 // bytes of a string, a blob or a row
	MaxParams  = 100
	MaxColumns = 100
	PageSize   = 4096
)

var limits = map[int32]int32{
	sqlite3.SQLITE_LIMIT_SQL_LENGTH:          MaxSQL,
	sqlite3.SQLITE_LIMIT_LENGTH:              MaxValue,
	sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER:     MaxParams,
	sqlite3.SQLITE_LIMIT_COLUMN:              MaxColumns,
	sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 50,
	sqlite3.SQLITE_LIMIT_EXPR_DEPTH:          100,
	sqlite3.SQLITE_LIMIT_COMPOUND_SELECT:     5,
	sqlite3.SQLITE_LIMIT_VDBE_OP:             25_000,
	sqlite3.SQLITE_LIMIT_FUNCTION_ARG:        127,
	sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH:       10,
	sqlite3.SQLITE_LIMIT_ATTACHED:            0,
	sqlite3.SQLITE_LIMIT_WORKER_THREADS:      0,
}

// Conn is one connection. It allows everything until Restrict.
type Conn struct {
	tls    *libc.TLS
	db     uintptr
	handle uintptr // stands for the Conn in SQLite's callbacks
	text   buffer  // what was last handed to SQLite
	meter  *Meter

	restricted bool
	denied     error // the authorizer's own reason for refusing the statement that is being prepared
	pragmas    bool  // the statement that is being prepared sets a pragma
	deadline   time.Time
	ctx        context.Context // of the call under way
	stopped    error           // why the progress handler stopped it
	yield      func() error    // asked now and then by a long statement
}

var (
	conns   sync.Map // handle: *Conn
	handles atomic.Uint64
)

// Open opens a file, which must be there if readonly. What SQLite allocates for it is counted on the meter, which may be nil.
func Open(path string, readonly bool, m *Meter) (_ *Conn, err error) {
	c := &Conn{tls: libc.NewTLS(), handle: uintptr(handles.Add(1)), meter: m}
	register(c.tls, m)
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	flags := int32(sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_CREATE)
	if readonly {
		flags = sqlite3.SQLITE_OPEN_READONLY
	}
	slot := c.text.of(c.tls, make([]byte, 16)) // where the connection is written to
	name, err := libc.CString(path)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, slot, flags|sqlite3.SQLITE_OPEN_NOMUTEX|sqlite3.SQLITE_OPEN_EXRESCODE, 0)
	c.db = *at[uintptr](slot)
	if rc != sqlite3.SQLITE_OK {
		return nil, fmt.Errorf("open %s: %w", path, c.fail(rc))
	}
	conns.Store(c.handle, c)
	for id, n := range limits {
		sqlite3.Xsqlite3_limit(c.tls, c.db, id, n)
	}
	if err := errors.Join(c.CheckpointOnClose(false), c.config(defensive, 1), c.config(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
		c.config(sqlite3.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0), c.linear()); err != nil {
		return nil, err
	}
	sqlite3.Xsqlite3_set_authorizer(c.tls, c.db, callback(authorize), c.handle)
	sqlite3.Xsqlite3_progress_handler(c.tls, c.db, progressOps, callback(progress), c.handle)
	return c, nil
}

// defensive is the switch that keeps SQL from writing to the file's pages themselves.
const defensive = sqlite3.SQLITE_DBCONFIG_DEFENSIVE

// config sets one of the connection's switches.
func (c *Conn) config(op, value int32) error {
	va := libc.Xmalloc(c.tls, 16)
	if va == 0 {
		return errMemory
	}
	defer libc.Xfree(c.tls, va)
	if rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, op, libc.VaList(va, value, uintptr(0))); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// CheckpointOnClose says whether the last connection that is closed moves what is in the write-ahead log into the file. None
// does unless it was told to.
func (c *Conn) CheckpointOnClose(on bool) error {
	if on {
		return c.config(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
	}
	return c.config(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
}

// Close frees the connection. Its statements must have been closed.
func (c *Conn) Close() error {
	if c.tls == nil {
		return nil
	}
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.fail(rc)
		}
	}
	conns.Delete(c.handle)
	c.text.free(c.tls)
	unregister(c.tls)
	c.tls.Close()
	c.tls = nil
	return err
}

// Restrict has every statement that is prepared from now on checked by the authorizer, or by nothing.
func (c *Conn) Restrict(on bool) { c.restricted = on }

// Guard has what runs from now on stopped when ctx ends, at the deadline, or when yield, called every few milliseconds of a
// long statement, returns an error; yield may be nil.
func (c *Conn) Guard(ctx context.Context, deadline time.Time, yield func() error) {
	c.ctx, c.deadline, c.yield, c.stopped = ctx, deadline, yield, nil
}

// Unguard has nothing that runs from now on stopped.
func (c *Conn) Unguard() { c.ctx, c.deadline, c.yield, c.stopped = nil, time.Time{}, nil, nil }

// progressOps is how many of SQLite's instructions pass between two looks at the clock: some 50 microseconds.
const progressOps = 1000

// ErrTimeout is the cause of a statement that was stopped at its deadline.
var ErrTimeout = errors.New("the statement took too long")

func progress(_ *libc.TLS, handle uintptr) int32 {
	v, ok := conns.Load(handle)
	if !ok {
		return 0
	}
	c := v.(*Conn)
	switch {
	case c.ctx == nil:
		return 0
	case c.ctx.Err() != nil:
		c.stopped = context.Cause(c.ctx)
	case !c.deadline.IsZero() && time.Now().After(c.deadline):
		c.stopped = ErrTimeout
	case c.yield != nil:
		c.stopped = c.yield()
	}
	if c.stopped != nil {
		return 1
	}
	return 0
}

// InTransaction says whether a transaction is open: SQLite ends one by itself after some errors.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// LastRowID is the rowid of the connection's last insert.
func (c *Conn) LastRowID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// TotalChanges counts rows changed since the connection was opened, those that triggers changed included.
func (c *Conn) TotalChanges() int64 { return sqlite3.Xsqlite3_total_changes64(c.tls, c.db) }

// Exec runs statements of the node's own, without regard to restrictions and limits of time.
func (c *Conn) Exec(sql string) error {
	was, ctx := c.restricted, c.ctx
	c.restricted, c.ctx = false, nil
	defer func() { c.restricted, c.ctx = was, ctx }()
	zsql := c.text.of(c.tls, append([]byte(sql), 0))
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, zsql, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// Int runs a query of the node's own and returns the first column of its first row.
func (c *Conn) Int(sql string) (int64, error) {
	was := c.restricted
	c.restricted = false
	defer func() { c.restricted = was }()
	st, err := c.Prepare(sql)
	if err != nil {
		return 0, err
	}
	defer st.Close()
	more, err := st.Step()
	if err != nil || !more {
		return 0, err
	}
	return sqlite3.Xsqlite3_column_int64(c.tls, st.p, 0), nil
}

// at looks at C memory, which the garbage collector does not move.
func at[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// callback makes a C function pointer of a Go function, which must be a top-level one.
func callback[F any](f F) uintptr { return *(*uintptr)(unsafe.Pointer(&f)) }

// buffer is C memory that is used again.
type buffer struct {
	p    uintptr
	size int
}

// of copies b, and returns where to.
func (m *buffer) of(tls *libc.TLS, b []byte) uintptr {
	if len(b) > m.size || m.p == 0 {
		m.free(tls)
		m.size = max(len(b), 4096)
		m.p = libc.Xmalloc(tls, libc.Tsize_t(m.size))
		if m.p == 0 {
			panic("out of memory")
		}
	}
	copy(unsafe.Slice(at[byte](m.p), len(b)), b)
	return m.p
}

func (m *buffer) free(tls *libc.TLS) {
	if m.p != 0 {
		libc.Xfree(tls, m.p)
	}
	m.p, m.size = 0, 0
}

// Changes is how many rows the last statement that writes has changed, without its triggers.
func (c *Conn) Changes() int64 { return sqlite3.Xsqlite3_changes64(c.tls, c.db) }

// DeferredViolations tells whether a commit now would fail for a foreign key that is checked then.
func (c *Conn) DeferredViolations() bool {
	p := c.text.of(c.tls, make([]byte, 8))
	sqlite3.Xsqlite3_db_status(c.tls, c.db, sqlite3.SQLITE_DBSTATUS_DEFERRED_FKS, p, p+4, 0)
	return *at[int32](p) != 0
}
