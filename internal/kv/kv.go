// Package kv is Workers KV on this node: namespaces of keys with values, metadata and expirations, kept in one SQLite
// file, and the HTTP protocol that workerd's kvNamespace binding speaks to them.
//
// It is not eventually consistent: a read that starts after a write was acknowledged sees that write. It knows nothing
// of scripts and permissions; who may touch a namespace is decided by whoever hands out its id.
//
// Invariant: this process alone writes the file, and every write passes through one connection, so a cached value is
// current until that connection commits a newer one. What was acknowledged is on disk (WAL, synchronous=FULL).
//
// Concurrency: a Store may be used from any number of goroutines. Writers that meet share a transaction; readers never
// wait for writers.
package kv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"atoll.dev/atoll/internal/fault"
)

// Options are what a Store may be told; the zero value is for production.
type Options struct {
	CacheBytes   int64            // memory for values that were read or written lately; 0 means 64 MiB
	AccountBytes int64            // how much one account may store, keys and metadata included; 0 means no bound
	SweepEvery   time.Duration    // how often expired rows are removed; 0 means 10 s
	Now          func() time.Time // the clock that decides about expiry; nil means time.Now
}

// Store is all KV namespaces of a node.
type Store struct {
	lg      *slog.Logger
	opts    Options
	readers *sql.DB
	writer  *writer
	cache   *cache
	pins    pins
	bulk    chan struct{} // holds a token for each bulk get that is being answered

	nextLarge atomic.Int64

	mu     sync.RWMutex
	spaces map[NamespaceID]*space
	byNum  map[int64]*space
	usage  map[string]*atomic.Int64 // bytes by account
}

// Open opens dir/kv.db, making it where it does not exist. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (*Store, error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.CacheBytes == 0 {
		opts.CacheBytes = 64 << 20
	}
	if opts.SweepEvery == 0 {
		opts.SweepEvery = 10 * time.Second
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{
		lg:     lg,
		opts:   opts,
		cache:  newCache(opts.CacheBytes),
		bulk:   make(chan struct{}, bulkGetters),
		spaces: map[NamespaceID]*space{},
		byNum:  map[int64]*space{},
		usage:  map[string]*atomic.Int64{},
	}
	s.pins.refs = map[int64]int{}
	s.pins.dying = map[int64]bool{}
	if err := s.open(filepath.Join(dir, "kv.db")); err != nil {
		return nil, errors.Join(fmt.Errorf("open kv store: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) open(path string) error {
	if err := create(path); err != nil {
		return err
	}
	const common = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	name := (&url.URL{Scheme: "file", OmitHost: true, Path: path}).String()
	db, err := sql.Open("sqlite", name+"?"+common+"&_pragma=journal_size_limit(67108864)")
	if err != nil {
		return err
	}
	if s.writer, err = newWriter(db, s.cache); err != nil {
		return errors.Join(err, db.Close())
	}
	if s.readers, err = sql.Open("sqlite", name+"?"+common+"&_pragma=query_only(1)"); err != nil {
		return err
	}
	s.readers.SetMaxOpenConns(4)
	s.readers.SetMaxIdleConns(4)
	return s.load(context.Background())
}

// create makes the file readable by the node's user alone, and its name durable; SQLite's side files take over its mode.
func create(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// load reads what is kept in memory: the namespaces, their accounts' usage and the highest id of a large value.
func (s *Store) load(ctx context.Context) error {
	rows, err := s.readers.QueryContext(ctx, `SELECT num, id, account, keys, bytes FROM namespaces`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var sp space
		var keys, bytes int64
		if err := rows.Scan(&sp.num, &sp.id, &sp.account, &keys, &bytes); err != nil {
			return err
		}
		s.addSpace(&sp)
		sp.keys.Store(keys)
		sp.bytes.Store(bytes)
		sp.owner.Add(bytes)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var large int64
	err = s.readers.QueryRowContext(ctx, `SELECT max((SELECT coalesce(max(large), 0) FROM chunks),
		(SELECT coalesce(max(large), 0) FROM garbage))`).Scan(&large)
	s.nextLarge.Store(large)
	return err
}

// Close waits for the writes under way, refuses further ones, and closes the file.
func (s *Store) Close() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	return errors.Join(errs...)
}

// Run removes expired and deleted data until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.SweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.lg.Error("sweep kv store", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Store) now() int64 { return s.opts.Now().Unix() }

// diskErr makes a fault of the one database error that a client should hear of: that the disk is full.
func diskErr(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL {
		return fmt.Errorf("%w: %w", fault.New(fault.Full, codeFull, "the disk is full"), err)
	}
	return err
}
