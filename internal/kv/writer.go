package kv

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"time"

	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/turns"
)

//go:embed schema.sql
var schema string

// A transaction takes in waiting writes up to these bounds.
const (
	maxBatchWrites = 1000
	maxBatchBytes  = 32 << 20
)

// write is one caller's part of a transaction.
type write struct {
	// apply does the work. It may run more than once, after a rollback. A fault it returns refuses this write alone, so
	// faults come before its first statement that changes anything.
	apply func(*tx) error
	space *space // whose turn it takes; nil: the node's
	// after, where set, runs once the write is committed and before its caller hears of it.
	after func()
	bytes int
	done  chan error
}

// change is what a committed transaction did to one key, for the cache.
type change struct {
	key   cacheKey
	entry *entry // nil: forget the key
	fresh bool   // keep the entry even if the key was not cached before
}

// writer is the one connection that writes. There is no goroutine of its own: whoever holds the lead commits what all
// have queued, and the others find their write done when they get the lead or before. Where more have queued than one
// transaction takes, namespaces take turns.
type writer struct {
	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt // by text; only the lead touches it
	cache *cache

	lead   chan struct{} // holds a token while someone leads
	closed chan struct{}

	share turns.Share // of a transaction; only the lead touches it

	mu    sync.Mutex
	queue turns.Queue[*write]
}

var errClosed = errors.New("kv store is closed")

func newWriter(db *sql.DB, c *cache) (*writer, error) {
	ctx := context.Background()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	w := &writer{db: db, conn: conn, stmts: map[string]*sql.Stmt{}, cache: c,
		lead: make(chan struct{}, 1), closed: make(chan struct{})}
	var version int
	if err := conn.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return nil, err
	}
	switch version {
	case 0:
		_, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE;\n"+schema+"\nCOMMIT;")
	case 1:
	default:
		err = fmt.Errorf("kv.db has schema %d, made by a newer version of this program", version)
	}
	return w, err
}

func (w *writer) close() error {
	select {
	case w.lead <- struct{}{}: // never given back: whoever still waits sees closed
	case <-w.closed:
		return nil
	}
	close(w.closed)
	var errs []error
	for _, st := range w.stmts {
		errs = append(errs, st.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// do queues x and returns once it is committed or refused. Where ctx ends first, x is either withdrawn, or being
// committed and waited for: its outcome is always known.
func (w *writer) do(ctx context.Context, x *write) error {
	x.done = make(chan error, 1)
	w.mu.Lock()
	w.queue.Push(x.space, x)
	w.mu.Unlock()
	select {
	case err := <-x.done:
		return err
	case <-w.closed:
		if w.withdraw(x) {
			return errClosed
		}
		return <-x.done
	case <-ctx.Done():
		if w.withdraw(x) {
			return context.Cause(ctx)
		}
		return <-x.done
	case w.lead <- struct{}{}:
	}
	defer func() { <-w.lead }()
	for {
		// It may have been done before the lead was had, and most often it is after one more transaction. Where the bounds
		// left it in the queue, it is led further; what others queued meanwhile is theirs to lead.
		select {
		case err := <-x.done:
			return err
		default:
			w.commit()
		}
	}
}

func (w *writer) withdraw(x *write) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queue.Remove(x.space, x)
}

// next is the write whose turn it is; nil where none waits.
func (w *writer) next() *write {
	w.mu.Lock()
	defer w.mu.Unlock()
	x, _ := w.queue.Next()
	return x
}

// commit runs what waits as one transaction; where that fails, each write as its own, so that one write which the disk has
// no room for does not fail the others.
func (w *writer) commit() {
	var batch []*write
	bytes := 0
	take := func() *write {
		if len(batch) == maxBatchWrites || bytes >= maxBatchBytes {
			return nil
		}
		x := w.next()
		if x != nil {
			batch = append(batch, x)
			bytes += x.bytes
		}
		return x
	}
	errs, err := w.transact(take)
	if len(batch) == 0 { // none could begin
		take()
	}
	if err == nil || len(batch) == 1 {
		w.finish(batch, errs, err)
		return
	}
	for _, x := range batch {
		one := x
		errs, err := w.transact(func() (next *write) {
			next, one = one, nil
			return next
		})
		w.finish([]*write{x}, errs, err)
	}
}

// finish tells the writes of a transaction what became of them: what refused them, or the error that undid the whole.
func (w *writer) finish(batch []*write, refused []error, err error) {
	for i, x := range batch {
		if err != nil {
			x.done <- diskErr(fmt.Errorf("write kv: %w", err))
			continue
		}
		if refused[i] == nil && x.after != nil {
			x.after()
		}
		x.done <- refused[i]
	}
}

// transact applies the writes that take returns, until it returns nil or the transaction has had its share of time, and
// commits them. It returns the refusals, or the error that undid the whole.
func (w *writer) transact(take func() *write) (refused []error, err error) {
	t := &tx{w: w, usage: map[*space]*delta{}, owners: map[string]int64{}, dropped: map[*space]bool{}}
	if err := t.exec(`BEGIN IMMEDIATE`); err != nil {
		return nil, err
	}
	began := time.Now()
	for x := take(); x != nil; x = take() {
		if err = x.apply(t); err != nil && fault.Of(err) == nil {
			break
		}
		refused, err = append(refused, err), nil
		if w.share.Over(began) {
			break
		}
	}
	if err == nil {
		err = t.flush()
	}
	if err == nil {
		began = time.Now()
		err = t.exec(`COMMIT`)
		w.share.Took(time.Since(began))
	}
	if err != nil {
		// A commit that failed may be on disk all the same, so nothing cached about these keys is certain.
		w.conn.ExecContext(context.Background(), `ROLLBACK`) // fails where the failed commit ended the transaction
		for _, c := range t.changes {
			w.cache.set(c.key, nil, false)
		}
		return nil, err
	}
	for _, c := range t.changes {
		w.cache.set(c.key, c.entry, c.fresh)
	}
	for sp, d := range t.usage {
		sp.owner.Add(d.total - sp.bytes.Swap(d.total))
		sp.keys.Store(d.keyTotal)
	}
	return refused, nil
}

// tx is the transaction under way.
type tx struct {
	w       *writer
	changes []change
	usage   map[*space]*delta
	owners  map[string]int64 // bytes this transaction adds, by account
	dropped map[*space]bool  // namespaces it deletes
}

// delta is how a transaction changes what a namespace holds, and, once flushed, what it then holds.
type delta struct {
	keys, bytes     int64
	keyTotal, total int64
}

func (t *tx) stmt(text string) (*sql.Stmt, error) {
	if st := t.w.stmts[text]; st != nil {
		return st, nil
	}
	st, err := t.w.conn.PrepareContext(context.Background(), text)
	if err == nil {
		t.w.stmts[text] = st
	}
	return st, err
}

func (t *tx) exec(text string, args ...any) error {
	st, err := t.stmt(text)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(context.Background(), args...)
	return err
}

// row reads one row into dest and reports whether there was one.
func (t *tx) row(text string, args []any, dest ...any) (bool, error) {
	st, err := t.stmt(text)
	if err != nil {
		return false, err
	}
	err = st.QueryRowContext(context.Background(), args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// count notes that sp holds so many more keys and bytes.
func (t *tx) count(sp *space, keys, bytes int64) {
	d := t.usage[sp]
	if d == nil {
		d = &delta{}
		t.usage[sp] = d
	}
	d.keys += keys
	d.bytes += bytes
	t.owners[sp.account] += bytes
}

// flush writes the counts.
func (t *tx) flush() error {
	for sp, d := range t.usage {
		if t.dropped[sp] {
			continue
		}
		_, err := t.row(`UPDATE namespaces SET keys = keys + ?, bytes = bytes + ? WHERE num = ? RETURNING keys, bytes`,
			[]any{d.keys, d.bytes, sp.num}, &d.keyTotal, &d.total)
		if err != nil {
			return err
		}
	}
	return nil
}
