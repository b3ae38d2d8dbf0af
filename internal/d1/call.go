package d1

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"atoll.dev/atoll/internal/d1/engine"
)

// call is one request to a database: all of it happens, or nothing.
type call struct {
	ctx  context.Context
	done chan struct{} // closed once err and the results are final
	err  error

	queries []Query
	format  Format
	answer  Answer
	mark    bookmark // what the database was at
}

func (c *call) finish(db *database, err error) {
	if err != nil {
		c.err = db.explain(err)
	}
	c.mark = db.last
	close(c.done)
}

// runBatch runs calls, and commits those that write together. A call that reads only, and comes before the first that
// writes, is answered at once.
func (db *database) runBatch(batch []*call) {
	if len(batch) == 0 {
		return
	}
	defer db.meter.Settle()
	if err := db.enter(); err != nil {
		for _, c := range batch {
			c.finish(db, err)
		}
		return
	}
	defer db.st.running.Done()
	defer db.follow()
	for len(batch) > 0 {
		n, err := db.transact(batch)
		if err == nil {
			batch = batch[n:]
			continue
		}
		// Nothing of the first n is stored, and not all of them need be to blame: each on its own. Where the disk is full, the
		// log may have taken what they need.
		retry := n > 1
		if db.diskFull(err) && db.makeSpace(err) {
			retry = true
		}
		for _, c := range batch[:n] {
			if retry && !isDone(c) {
				_, err = db.transact([]*call{c})
			}
			if err != nil && !isDone(c) {
				c.finish(db, err)
			}
		}
		batch = batch[n:]
	}
}

func isDone(c *call) bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// enter begins work, unless the Store is closed, and opens the files.
func (db *database) enter() error {
	db.st.mu.RLock()
	closed := db.st.closed
	if !closed {
		db.st.running.Add(1)
	}
	db.st.mu.RUnlock()
	if closed {
		return errShutdown
	}
	if err := db.openFiles(); err != nil {
		db.st.running.Done()
		return err
	}
	return nil
}

// transact runs calls in one transaction, and returns how many: it ends early after one that has set pragmas. Calls that fail
// by themselves have been told. Where it returns an error, nothing is stored, and those not told have not been.
func (db *database) transact(batch []*call) (n int, err error) {
	var held []*call // they wait for the commit
	begun, wrote := false, false
	db.schema, db.pragmas = false, false
	defer func() {
		db.rest()
		if err != nil && db.conn.InTransaction() {
			if e := db.conn.Exec("ROLLBACK"); e != nil {
				db.st.lg.Error("roll back", "database", db.ID, "err", e)
			}
		}
		if err != nil {
			db.stmts.clear() // the schema may be another again
			db.measure()
		}
	}()
	for _, c := range batch {
		n++
		if isDone(c) {
			continue
		}
		if !begun && db.readOnly(c) {
			c.finish(db, db.run(c))
			continue
		}
		if !begun {
			if err := db.conn.Exec("BEGIN IMMEDIATE"); err != nil {
				return n, err
			}
			begun = true
		}
		changed, own, err := db.apply(c)
		if own != nil {
			c.finish(db, own)
		}
		if err != nil {
			return n, err
		}
		if own == nil {
			held, wrote = append(held, c), wrote || changed
		}
		if db.pragmas {
			db.pragmas = false
			defer db.conn.ResetPragmas()
			break
		}
	}
	if begun {
		if err := db.commit(wrote); err != nil {
			return n, err
		}
	}
	for _, c := range held {
		c.finish(db, nil)
	}
	return n, nil
}

var errBroken = errors.New("the transaction was rolled back")

// apply runs a call within the transaction. own is why it failed, and nothing of it is left; err says that the transaction is
// broken.
func (db *database) apply(c *call) (changed bool, own, err error) {
	if err := db.conn.Exec("SAVEPOINT call"); err != nil {
		return false, nil, err
	}
	before := db.writes
	own = db.run(c)
	if own == nil && db.conn.DeferredViolations() {
		own = engine.ErrForeignKey
	}
	changed = db.writes != before
	if own == nil {
		return changed, nil, db.conn.Exec("RELEASE call")
	}
	if !db.conn.InTransaction() { // SQLite has rolled it back, with what others did
		if errors.Is(own, engine.ErrFull) {
			return false, nil, own
		}
		return false, own, errBroken
	}
	if db.schema { // it is another again
		db.stmts.clear()
	}
	if err := db.conn.Exec("ROLLBACK TO call; RELEASE call"); err != nil {
		return false, own, err
	}
	return false, own, db.measure()
}

// commit makes the transaction durable, if the account has room for it.
func (db *database) commit(wrote bool) error {
	if !wrote {
		return db.conn.Exec("COMMIT")
	}
	pages, err := db.page(0)
	if err != nil {
		return err
	}
	next := db.last.next(db.st.opts.Now())
	return db.store(pages, next, next.stamp()+"COMMIT")
}

// store makes a transaction that writes durable, by the SQL that commits it. The database has so many pages then.
func (db *database) store(pages int64, next bookmark, sql string) (err error) {
	size, old := pages*engine.PageSize, db.size.Load()
	if size > old { // what is in the log must fit into the file, or nothing could be deleted from a full disk
		if err := reserve(db.file, size); err != nil {
			return full(err)
		}
	}
	if most := db.st.opts.AccountBytes; size > old {
		if total := db.owner.bytes.Add(size - old); most > 0 && total > most {
			db.owner.bytes.Add(old - size)
			return errAccount
		}
		defer func() { // what is stored decides
			if err != nil {
				db.owner.bytes.Add(old - size)
			} else {
				db.size.Store(size)
			}
		}()
	} else {
		defer func() {
			if err == nil {
				db.setSize(size)
			}
		}()
	}
	if err = db.conn.Exec(sql); err != nil {
		return err
	}
	db.last, db.committed = next, true
	db.marked.Store(&next)
	return nil
}

// run runs a call's statements. Panics are bugs, and must not leave the database without a lead.
func (db *database) run(c *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			db.st.lg.Error("panic in a call to a database", "database", db.ID, "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(c.ctx)
	defer stop(nil)
	defer db.rest()
	defer db.conn.Unguard() // what the node does by itself is not stopped
	defer context.AfterFunc(db.ended, func() { stop(errGone) })()
	return db.runQueries(ctx, c)
}

// A statement that runs longer than this needs a turn, of which there are half as many as the machine has cores; and it
// gives its turn up to others that wait, as often.
const quantum = 50 * time.Millisecond

// guard has the next statement stopped when its time is over, or its caller gone.
func (db *database) guard(ctx context.Context) {
	start := time.Now()
	deadline := start.Add(db.st.opts.QueryTime)
	db.conn.Guard(ctx, deadline, func() error {
		from := start
		if !db.slowFrom.IsZero() {
			from = db.slowFrom
		}
		if time.Since(from) < quantum {
			return nil
		}
		db.rest()
		if err := db.logGrows(); err != nil {
			return err
		}
		wait := time.NewTimer(time.Until(deadline))
		defer wait.Stop()
		select {
		case db.st.turns <- struct{}{}:
			db.slowFrom = time.Now()
			return nil
		case <-wait.C:
			return engine.ErrTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
}

// logSlack is how large a database's log may become beside what the database may.
const logSlack = 256 << 20

// logGrows refuses a transaction whose log takes more than the database might: a page that is changed again and again is in
// the log as often.
func (db *database) logGrows() error {
	info, err := os.Stat(db.path + "-wal")
	if err != nil {
		return nil
	}
	room, refused := db.st.opts.DatabaseBytes, error(errSize)
	if most := db.st.opts.AccountBytes; most > 0 && most-db.owner.bytes.Load()+db.size.Load() < room {
		room, refused = most-db.owner.bytes.Load()+db.size.Load(), errAccount
	}
	if info.Size() > max(0, room)+logSlack {
		return refused
	}
	return nil
}

// rest gives up the turn of a long statement.
func (db *database) rest() {
	if !db.slowFrom.IsZero() {
		<-db.st.turns
		db.slowFrom = time.Time{}
	}
}

// explain makes of an error what its caller is told.
func (db *database) explain(err error) error {
	var e *engine.Error
	switch failed := db.meter.Settle(); {
	case errors.Is(err, errGone):
		return missing(string(db.ID))
	case errors.Is(err, errSize):
		return errSize
	case errors.Is(err, errAccount):
		return errAccount
	case errors.Is(err, engine.ErrTimeout):
		return errTime
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, engine.ErrMemory) || failed:
		return errMemory
	case errors.Is(err, engine.ErrFull):
		if pages, err := db.page(0); err == nil && (pages+1)*engine.PageSize > db.st.opts.DatabaseBytes-1<<20 {
			return errSize
		}
		return errDisk
	case errors.Is(err, engine.ErrCorrupt):
		db.st.lg.Error("a database is damaged", "database", db.ID, "err", err)
		return errDamaged
	case errors.Is(err, engine.ErrIO):
		db.st.lg.Error("cannot read or write a database", "database", db.ID, "err", err)
		return fmt.Errorf("%w: %w", errDisk, err)
	case errors.As(err, &e):
		return queryFault(e)
	}
	return err
}

// full adds the fault to the error of a full disk.
func full(err error) error {
	var no syscall.Errno
	if errors.Is(err, engine.ErrFull) || errors.As(err, &no) && (no == syscall.ENOSPC || no == syscall.EDQUOT) || errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return err
}
