package d1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/fault"
)

// database is one database in memory. Its files are open while it is used, and for a while after.
type database struct {
	Database
	st    *Store
	owner *owner
	path  string
	meter *engine.Meter

	size   atomic.Int64 // of the file, as it is counted for the account
	used   atomic.Int64 // when, in nanoseconds since 1970
	gone   atomic.Bool
	marked atomic.Pointer[bookmark] // a copy of last
	ended  context.Context          // done once the database is deleted
	end    context.CancelCauseFunc

	history *history.Log

	lead chan struct{} // holds a token while someone has the lead

	mu    sync.Mutex
	queue []*call

	// Whoever has the lead has these.
	conn      *engine.Conn
	file      *os.File // the same file, to reserve space for it
	stmts     statements
	last      bookmark // of the last commit
	followed  bool     // the history follows conn
	committed bool     // something that the history was not asked to follow yet
	moved     int      // frames of the log that were there when it was last checkpointed
	live      int64    // bytes of the file that are in use
	sizes     [2]*engine.Stmt
	writes    int       // counts statements that may have written
	schema    bool      // one of the transaction under way has changed the schema
	pragmas   bool      // one has set a pragma
	slowFrom  time.Time // when the call under way got its turn to run long; zero: it has none
}

// maxQueue is how many calls may wait for one database.
const maxQueue = 1000

func (db *database) info() Database {
	d := db.Database
	d.Size, d.History = db.size.Load(), db.history.Bytes()
	return d
}

func (db *database) setSize(n int64) {
	db.owner.bytes.Add(n - db.size.Swap(n))
}

// What goes wrong with a database as a whole. The texts are what D1's documentation lists,
// https://developers.cloudflare.com/d1/observability/debug-d1/, where it lists one.
var (
	errGone     = fault.New(fault.NotFound, codeNotFound, "The database could not be found")
	errQueue    = fault.New(fault.Limited, codeQuery, "D1 DB is overloaded. Too many requests queued.")
	errTime     = fault.New(fault.Invalid, codeQuery, "D1 DB storage operation exceeded timeout which caused object to be reset.")
	errMemory   = fault.New(fault.Invalid, codeQuery, "D1 DB's isolate exceeded its memory limit and was reset.")
	errSize     = fault.New(fault.Full, codeFull, "Exceeded maximum DB size.")
	errAccount  = fault.New(fault.Full, codeFull, "Your account has exceeded D1's maximum account storage limit.")
	errDisk     = fault.New(fault.Full, codeFull, "The node has no disk space left for this.")
	errNothing  = fault.New(fault.Invalid, codeQuery, "No SQL statements detected.")
	errDamaged  = fault.New(fault.Internal, codeQuery, "The database's file is damaged.")
	errShutdown = fault.New(fault.Unavailable, codeQuery, "The node is stopping.")
)

// do queues a call, and returns when it is done. Where ctx ends first, the call is withdrawn, or stopped; its outcome is
// always known.
func (db *database) do(ctx context.Context, c *call) error {
	c.ctx, c.done = ctx, make(chan struct{})
	db.mu.Lock()
	if len(db.queue) >= maxQueue {
		db.mu.Unlock()
		return errQueue
	}
	db.queue = append(db.queue, c)
	db.mu.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case <-ctx.Done():
			if db.withdraw(c) {
				return context.Cause(ctx)
			}
			<-c.done
			return c.err
		case db.lead <- struct{}{}:
			db.runBatch(db.take())
			db.unlead()
		}
	}
}

// exclusively runs f with the lead, and the files open.
func (db *database) exclusively(ctx context.Context, f func() error) error {
	select {
	case db.lead <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer db.unlead()
	if err := db.enter(); err != nil {
		return db.explain(err)
	}
	defer db.st.running.Done()
	defer db.follow()
	return f()
}

func (db *database) unlead() { <-db.lead }

func (db *database) withdraw(c *call) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	for i, q := range db.queue {
		if q == c {
			db.queue = append(db.queue[:i], db.queue[i+1:]...)
			return true
		}
	}
	return false
}

// maxBatch is how many calls share a commit.
const maxBatch = 64

func (db *database) take() []*call {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := min(len(db.queue), maxBatch)
	batch := append([]*call(nil), db.queue[:n]...)
	db.queue = append(db.queue[:0], db.queue[n:]...)
	return batch
}

// Pragmas of the connection. Temporary tables and sorts are kept in memory, where they are counted: on the disk they could
// fill it. The file is never more than max_page_count. A checkpoint is made only once the history has what it moves.
const setUp = `PRAGMA page_size = 4096; PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA foreign_keys = 1; PRAGMA temp_store = 2;
	PRAGMA cache_size = -2000; PRAGMA busy_timeout = 10000; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 16777216; PRAGMA max_page_count = %d`

// openFiles makes sure that the database's files are open.
func (db *database) openFiles() (err error) {
	db.used.Store(db.st.opts.Now().UnixNano())
	if db.gone.Load() {
		return errGone
	}
	if db.conn != nil {
		return nil
	}
	db.st.makeRoom()
	if err := db.create(); err != nil {
		return full(fmt.Errorf("make database file: %w", err))
	}
	db.meter.Settle()
	conn, err := engine.Open(db.path, false, db.meter)
	if err != nil {
		return full(err)
	}
	defer func() {
		if err != nil {
			err = full(errors.Join(err, db.closeFiles()))
		}
	}()
	db.conn = conn
	db.st.opened(db, true)
	if db.file, err = os.OpenFile(db.path, os.O_RDWR, 0); err != nil {
		return err
	}
	if err := conn.Exec(fmt.Sprintf(setUp, db.st.opts.DatabaseBytes/engine.PageSize)); err != nil {
		return err
	}
	for i, sql := range []string{"PRAGMA page_count", "PRAGMA freelist_count"} {
		if db.sizes[i], err = conn.Prepare(sql); err != nil {
			return err
		}
	}
	if err := db.readBookmark(); err != nil {
		return err
	}
	if err := db.measure(); err != nil {
		return err
	}
	conn.Restrict(true)
	return db.startHistory()
}

// create makes the file, readable by the node's user alone, and its name durable.
func (db *database) create() error {
	f, err := os.OpenFile(db.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(db.st.dir)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Close(), dir.Sync(), dir.Close())
}

// closeFiles closes what is open.
func (db *database) closeFiles() error {
	var err error
	if db.followed {
		db.settle()
		err = db.conn.CheckpointOnClose(true)
	}
	db.stmts.clear()
	for i, st := range db.sizes {
		if st != nil {
			st.Close()
		}
		db.sizes[i] = nil
	}
	if db.conn != nil {
		err = errors.Join(err, db.conn.Close())
		db.conn = nil
	}
	err = errors.Join(err, db.history.Stop())
	db.followed = false
	if db.file != nil { // after the connection, whose locks end with it: see fcntl(2)
		err = errors.Join(err, db.file.Close())
		db.file = nil
	}
	db.st.opened(db, false)
	return err
}

// measure reads how large the file is.
func (db *database) measure() error {
	pages, err := db.page(0)
	if err != nil {
		return err
	}
	unused, err := db.page(1)
	if err != nil {
		return err
	}
	db.live = (pages - unused) * engine.PageSize
	return nil
}

// page runs one of the statements that measure.
func (db *database) page(i int) (int64, error) {
	st := db.sizes[i]
	defer st.Reset()
	if more, err := st.Step(); err != nil || !more {
		return 0, err
	}
	v, err := st.Value(0)
	return v.Int, err
}

// destroy closes and removes a deleted database's files. The call under way is stopped, the ones behind it fail.
func (db *database) destroy() error {
	db.gone.Store(true)
	db.end(errGone)
	db.lead <- struct{}{}
	defer db.unlead()
	err := db.closeFiles()
	db.setSize(0)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Remove(db.path + suffix); !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, db.history.Remove())
}
