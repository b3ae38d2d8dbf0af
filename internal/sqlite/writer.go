package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"atoll.dev/atoll/internal/turns"
)

// writer is the one connection that writes. Callers queue their changes; whoever gets the lead makes all changes queued
// so far in one transaction, so that they share a commit and its fsync. While it commits, the next ones queue up. Where there
// are more than one transaction takes, tenants take turns.
type writer struct {
	lg   *slog.Logger
	db   *sql.DB
	conn *sql.Conn

	lead   chan struct{} // holds one token; who took it may use conn and stmts
	stmts  map[string]*sql.Stmt
	closed bool

	share turns.Share // of a transaction; only the lead touches it

	mu    sync.Mutex
	queue turns.Queue[*change]
}

// change is one caller's write.
type change struct {
	ctx  context.Context
	fn   func(ctx context.Context, tx Session) error
	done chan struct{} // closed once err is final
	err  error
}

// maxBatch bounds how many changes share a transaction, so that the first of them need not wait for ever.
const maxBatch = 256

// ErrClosed is the error of a write after Close.
var ErrClosed = errors.New("the database is closed")

func openWriter(ctx context.Context, lg *slog.Logger, path string) (*writer, error) {
	// synchronous=FULL: in WAL mode a commit returns once the log is on disk, https://sqlite.org/pragma.html#pragma_synchronous
	db, err := sql.Open("sqlite", dsn(path, "busy_timeout(10000)", "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)",
		"temp_store(2)", "cache_size(-32000)", "journal_size_limit(67108864)"))
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		return nil, err
	}
	w := &writer{lg: lg, db: db, conn: conn, lead: make(chan struct{}, 1), stmts: map[string]*sql.Stmt{}}
	w.lead <- struct{}{}
	return w, nil
}

// close waits for the transaction under way. Changes still queued fail.
func (w *writer) close() error {
	<-w.lead
	defer func() { w.lead <- struct{}{} }()
	if w.closed {
		return nil
	}
	w.closed = true
	for _, st := range w.stmts {
		st.Close()
	}
	return errors.Join(w.conn.Close(), w.db.Close())
}

// prepare returns a statement of the writing connection. Only who has the lead may call it.
func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st, ok := w.stmts[query]; ok {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, strings.TrimSpace(query))
	if err != nil {
		return nil, err
	}
	w.stmts[query] = st
	return st, nil
}

// Write runs fn in a transaction and returns once that is on disk. If fn returns an error, nothing of its changes remains.
// It gives up for ctx only before fn has run: afterwards the change's fate is what the commit decides. fn runs once, and
// uses tx for nothing but [Run], [One] and [All]; a full disk is a fault of kind Full.
func (db *DB) Write(ctx context.Context, fn func(ctx context.Context, tx Session) error) error {
	return db.WriteFor(ctx, nil, fn)
}

// WriteFor is Write for a tenant, who is told by ==. Tenants take turns; nil is one, too.
func (db *DB) WriteFor(ctx context.Context, tenant any, fn func(ctx context.Context, tx Session) error) error {
	w := db.writes
	c := &change{ctx: ctx, fn: fn, done: make(chan struct{})}
	w.mu.Lock()
	w.queue.Push(tenant, c)
	w.mu.Unlock()
	for {
		select {
		case <-c.done:
			return c.err
		case <-w.lead:
			select {
			case <-c.done: // by another lead, meanwhile
			default:
				w.commit()
			}
			w.lead <- struct{}{}
		}
	}
}

// next is the change to make next; nil where none waits.
func (w *writer) next() *change {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, _ := w.queue.Next()
	return c
}

// commit makes changes, each in a savepoint of its own, so that one's failure does not undo the others'.
func (w *writer) commit() {
	var batch []*change
	take := func() *change {
		if len(batch) == maxBatch {
			return nil
		}
		c := w.next()
		if c != nil {
			batch = append(batch, c)
		}
		return c
	}
	defer func() {
		for _, c := range batch {
			close(c.done)
		}
	}()
	err := w.transaction(take)
	if err == nil {
		return
	}
	if len(batch) == 0 { // none can begin
		for take() != nil {
		}
	}
	for _, c := range batch {
		if c.err == nil {
			c.err = fmt.Errorf("commit: %w", err)
		}
	}
}

// transaction makes the changes that take returns, until it returns nil or the transaction has had its share of time. It
// returns an error if none of them is stored; errors of single changes are in the changes.
func (w *writer) transaction(take func() *change) error {
	ctx := context.Background()
	if w.closed {
		return ErrClosed
	}
	if _, err := Run(ctx, w, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	changed := false
	began := time.Now()
	for c := take(); c != nil; c = take() {
		ok, err := w.apply(c)
		if err != nil { // such as a full disk: SQLite may have rolled back everything by itself
			Run(ctx, w, "ROLLBACK")
			return err
		}
		changed = changed || ok
		if w.share.Over(began) {
			break
		}
	}
	if !changed {
		_, err := Run(ctx, w, "ROLLBACK")
		return err
	}
	began = time.Now()
	if _, err := Run(ctx, w, "COMMIT"); err != nil {
		Run(ctx, w, "ROLLBACK")
		return err
	}
	w.share.Took(time.Since(began))
	return nil
}

// apply makes one change and says whether it is to be kept. Its error says that the transaction is broken.
func (w *writer) apply(c *change) (kept bool, err error) {
	if c.err = context.Cause(c.ctx); c.err != nil {
		return false, nil
	}
	ctx := context.WithoutCancel(c.ctx) // an interrupted statement could roll back the changes of others
	if _, err := Run(ctx, w, "SAVEPOINT change"); err != nil {
		return false, err
	}
	c.err = w.call(ctx, c.fn)
	if c.err != nil {
		if _, err := Run(ctx, w, "ROLLBACK TO change"); err != nil {
			return false, errors.Join(c.err, err)
		}
	}
	_, err = Run(ctx, w, "RELEASE change")
	return c.err == nil, err
}

// call keeps a panic in one change from leaving everyone without a lead.
func (w *writer) call(ctx context.Context, fn func(ctx context.Context, tx Session) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			w.lg.Error("panic in a write to a database", "err", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn(ctx, w)
}
