// Package store keeps the node's metadata in one SQLite file: accounts, tokens, dispatch namespaces, scripts with their
// versions and deployments, zones, routes, schedules. It is not where the modules' bytes are (package durable), nor
// customers' data (package kv and its like), and it decides nothing: packages deploy and api do.
//
// Invariant: a method that writes has put its whole change on disk when it returns nil, and nothing of it when it returns
// an error. Secrets are in the file only as AES-256-GCM ciphertext, bound to their script, version and name.
//
// All methods may be called concurrently. Writes queue up and share transactions; reads run beside them on a pool of
// their own and see every write that has returned. One process at a time may open a directory.
package store

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// DB is an open store.
type DB struct {
	lg     *slog.Logger
	aead   cipher.AEAD // seals secrets
	reads  *pool
	writes *writer
}

// Open opens DIR/atoll.db, makes it where it is missing, brings its schema up to date, and finishes deletions of
// namespaces that a crash cut short. It fails if the file was sealed with another key.
func Open(lg *slog.Logger, dir string, key Key) (_ *DB, err error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	path, err := create(dir)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db := &DB{lg: lg, aead: key.aead()}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	ctx := context.Background()
	if db.writes, err = openWriter(ctx, lg, path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := db.writes.migrate(ctx, migrations); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if db.reads, err = openPool(path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := db.checkKey(ctx); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	if err := db.finishDeletions(ctx); err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, err)
	}
	return db, nil
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
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// create makes the directory and the empty file where they are missing, readable by their owner alone: SQLite would make
// the file by the umask. Its -wal and -shm files get the mode of the file itself.
func create(dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path, err = filepath.Abs(filepath.Join(dir, "atoll.db"))
	if err != nil {
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

// session runs prepared statements: those of the pool for reads, those of the one writing connection inside a write.
type session interface {
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
	db.SetMaxIdleConns(n) // a connection lives as long as the store, so do its statements
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

// run executes a statement and returns how many rows it changed.
func run(ctx context.Context, s session, query string, args ...any) (int64, error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return 0, full(err)
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, full(err)
	}
	return res.RowsAffected()
}

// scanner is a row: *sql.Row or *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// one returns the only row of a query; its error is sql.ErrNoRows where there is none.
func one[T any](ctx context.Context, s session, scan func(scanner) (T, error), query string, args ...any) (v T, err error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return v, err
	}
	return scan(st.QueryRowContext(ctx, args...))
}

// all returns the rows of a query.
func all[T any](ctx context.Context, s session, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	st, err := s.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := st.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
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
	return list, rows.Err()
}

// value scans a row of one column.
func value[T any](row scanner) (v T, err error) {
	err = row.Scan(&v)
	return v, err
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// now is the time to store: what a caller gets back at once is what it reads later.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func missing(err error) bool { return errors.Is(err, sql.ErrNoRows) }
