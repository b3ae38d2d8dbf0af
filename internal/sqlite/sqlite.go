// Package sqlite keeps one SQLite file for a service of the node: a writer whose callers share commits, a pool of
// connections that only read, and a schema that migrates by numbered steps.
//
// It is not where anybody's tables are: packages store, d1 and their like have those. Package kv has a writer of its own,
// whose cache follows each commit.
//
// Invariant: what [DB.Write] has returned nil for is on disk (WAL, synchronous=FULL), whole; what it has returned an error
// for is not there. One process at a time may open a file.
//
// Everything may be called concurrently. Writes queue up and share transactions; reads run beside them and see every write
// that has returned.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"atoll.dev/atoll/internal/fault"
)

// DB is an open file.
type DB struct {
	reads  *pool
	writes *writer
}

// Open opens the file at path, makes it and its directory where they are missing, and brings its schema up to date by
// migrations, whose files are named migrations/NNNN_what.sql. One that was released is never edited: a change of the schema
// is a new file. The logger may be nil.
func Open(lg *slog.Logger, path string, migrations fs.FS) (_ *DB, err error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if path, err = create(path); err != nil {
		return nil, err
	}
	db := &DB{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
		}
	}()
	ctx := context.Background()
	if db.writes, err = openWriter(ctx, lg.With("file", filepath.Base(path)), path); err != nil {
		return nil, err
	}
	if err = db.writes.migrate(ctx, migrations); err != nil {
		return nil, err
	}
	db.reads, err = openPool(path)
	return db, err
}

// Close waits for the write under way, fails the ones behind it, and closes the file.
func (db *DB) Close() error {
	var errs []error
	if db.reads != nil {
		errs = append(errs, db.reads.close())
	}
	if db.writes != nil {
		errs = append(errs, db.writes.close())
	}
	return errors.Join(errs...)
}

// Reads is the session outside any write. It cannot change anything.
func (db *DB) Reads() Session { return db.reads }

// Statements returns the texts of all statements prepared so far, for tests that look at their plans. Nobody may write
// meanwhile.
func (db *DB) Statements() []string {
	db.reads.mu.Lock()
	defer db.reads.mu.Unlock()
	all := maps.Clone(db.reads.stmts)
	maps.Copy(all, db.writes.stmts)
	return slices.Sorted(maps.Keys(all))
}

// create makes the directory and the empty file where they are missing, readable by their owner alone: SQLite would make
// the file by the umask. Its -wal and -shm files get the mode of the file itself.
func create(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	return path, f.Close()
}

// dsn is the driver's name for the file, with pragmas that every connection starts with.
func dsn(path string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// Session runs prepared statements: those of the pool for reads, those of the one writing connection inside a write.
type Session interface {
	prepare(ctx context.Context, query string) (*sql.Stmt, error)
}

// pool is the connections for reading. They cannot write.
type pool struct {
	db *sql.DB

	mu    sync.Mutex
	stmts map[string]*sql.Stmt
}

func openPool(path string) (*pool, error) {
	db, err := sql.Open("sqlite", dsn(path, "busy_timeout(10000)", "query_only(1)", "temp_store(2)", "cache_size(-8000)"))
	if err != nil {
		return nil, err
	}
	n := max(4, runtime.GOMAXPROCS(0))
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n) // a connection lives as long as the file is open, so do its statements
	return &pool{db: db, stmts: map[string]*sql.Stmt{}}, nil
}

func (p *pool) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	st, ok := p.stmts[query]
	p.mu.Unlock()
	if ok {
		return st, nil
	}
	st, err := p.db.PrepareContext(ctx, strings.TrimSpace(query))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if other, ok := p.stmts[query]; ok {
		st.Close()
		return other, nil
	}
	p.stmts[query] = st
	return st, nil
}

func (p *pool) close() error {
	p.mu.Lock()
	stmts := p.stmts
	p.stmts = map[string]*sql.Stmt{}
	p.mu.Unlock()
	for _, st := range stmts {
		st.Close()
	}
	return p.db.Close()
}

// Run executes a statement and returns how many rows it changed.
func Run(ctx context.Context, s Session, query string, args ...any) (int64, error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return 0, Full(err)
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, Full(err)
	}
	return res.RowsAffected()
}

// Row is what is scanned: *sql.Row or *sql.Rows.
type Row interface{ Scan(dest ...any) error }

// One returns the only row of a query; see [Missing] for there being none.
func One[T any](ctx context.Context, s Session, scan func(Row) (T, error), query string, args ...any) (v T, err error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return v, Full(err)
	}
	v, err = scan(st.QueryRowContext(ctx, args...))
	return v, Full(err) // a query may write: RETURNING
}

// All returns the rows of a query.
func All[T any](ctx context.Context, s Session, scan func(Row) (T, error), query string, args ...any) ([]T, error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return nil, Full(err)
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, Full(err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, Full(rows.Err())
}

// Value scans a row of one column.
func Value[T any](row Row) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

// Missing tells whether an error of [One] says that there is no such row.
func Missing(err error) bool { return errors.Is(err, sql.ErrNoRows) }

// Full adds the fault that a client may see to the error of a full disk, and returns other errors as they are.
func Full(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL && fault.Of(err) == nil {
		return fmt.Errorf("%w: %w", fault.New(fault.Full, 10013, "The node has no disk space left for this."), err)
	}
	return err
}
