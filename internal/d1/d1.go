// Package d1 is D1 on this node: databases of accounts, each one SQLite file of its own, the HTTP protocol that workerd's D1
// binding speaks to them, and what the REST API needs beside queries: exports, imports, and what they were at a bookmark.
//
// It knows nothing of scripts and permissions; who may use a database is decided by whoever hands out its id. How a
// statement of a tenant runs without harm is package engine's.
//
// Invariant: a database has one connection that writes, whose holder has the lead; what a call was answered is on disk (WAL,
// synchronous=FULL), whole, and what failed has left nothing.
//
// Concurrency: a Store may be used from any number of goroutines. The calls of one database run one after another, as on
// Cloudflare, and those that wait share a commit; databases do not wait for each other.
package d1

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/d1/engine"
	"atoll.dev/atoll/internal/d1/history"
	"atoll.dev/atoll/internal/sqlite"
)

//go:embed migrations
var migrations embed.FS

// Options are what a Store may be told; the zero value is for production.
type Options struct {
	AccountBytes  int64            // how much one account may store; 0 means no bound
	DatabaseBytes int64            // of one database; 0 means 10 GB
	Databases     int              // of one account; 0 means 50,000
	MaxOpen       int              // databases whose files are open though nobody uses them; 0 means 128
	IdleAfter     time.Duration    // when the files of an unused database are closed; 0 means a minute
	QueryTime     time.Duration    // how long one statement may run; 0 means 30 s
	CallMemory    int64            // bytes that one call may use; 0 means 128 MB
	TotalMemory   int64            // bytes that all calls may use; 0 means 1 GB
	HistoryBytes  int64            // of one account's databases; 0 means 4 GB
	HistoryAge    time.Duration    // for how long what they were is kept; 0 means 30 days
	Now           func() time.Time // nil means time.Now

	history history.Options
}

// withDefaults are Cloudflare's where it has one, https://developers.cloudflare.com/d1/platform/limits/.
func (o Options) withDefaults() Options {
	o.DatabaseBytes = or(o.DatabaseBytes, 10_000_000_000)
	o.Databases = or(o.Databases, 50_000)
	o.MaxOpen = or(o.MaxOpen, 128)
	o.IdleAfter = or(o.IdleAfter, time.Minute)
	o.QueryTime = or(o.QueryTime, 30*time.Second)
	o.CallMemory = or(o.CallMemory, 128<<20)
	o.TotalMemory = or(o.TotalMemory, 1<<30)
	o.HistoryBytes = or(o.HistoryBytes, 4<<30)
	o.HistoryAge = or(o.HistoryAge, 30*24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// Store is all D1 databases of a node.
type Store struct {
	lg       *slog.Logger
	opts     Options
	dir      string // of the databases' files
	registry *sqlite.DB
	memory   *engine.Pool
	turns    chan struct{} // who has one may run a statement that takes long
	running  sync.WaitGroup

	background context.Context // of imports and exports; done once the Store closes
	cancel     context.CancelCauseFunc

	mu        sync.RWMutex
	closed    bool
	dbs       map[ID]*database
	accounts  map[atoll.AccountID]*owner
	open      map[*database]bool   // those with open files
	transfers map[string]*transfer // by token
}

// owner is what an account has.
type owner struct {
	bytes   atomic.Int64
	staged  atomic.Int64 // bytes of files to import
	history atomic.Int64 // bytes
	memory  *engine.Pool
	names   map[string]*database // under the Store's mu
}

// Open opens the databases in dir: their registry in d1.db, and their files in d1. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (_ *Store, err error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	s := &Store{lg: lg, opts: opts.withDefaults(), dir: filepath.Join(dir, "d1"), dbs: map[ID]*database{},
		accounts: map[atoll.AccountID]*owner{}, open: map[*database]bool{},
		transfers: map[string]*transfer{},
		turns:     make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	s.background, s.cancel = context.WithCancelCause(context.Background())
	s.memory = &engine.Pool{Limit: s.opts.TotalMemory}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open d1: %w", err)
	}
	if s.registry, err = sqlite.Open(lg, filepath.Join(dir, "d1.db"), migrations); err != nil {
		return nil, fmt.Errorf("open d1: %w", err)
	}
	if err := s.load(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("open d1: %w", err), s.Close())
	}
	return s, nil
}

// load reads the registry, measures the files, and removes those of databases that are not there any more.
func (s *Store) load(ctx context.Context) error {
	list, err := sqlite.All(ctx, s.registry.Reads(), scanDatabase, selectDatabases)
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := s.add(d); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		id, _, _ := strings.Cut(e.Name(), ".")
		db, known := s.dbs[ID(id)]
		if !known {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
			continue
		}
		if info, err := e.Info(); err == nil && e.Name() == id+extension {
			db.setSize(info.Size())
		}
	}
	return nil
}

// extension is what a database's file is called after its id.
const extension = ".sqlite"

// add makes a database known. The Store's mu is held, or nobody else has the Store.
func (s *Store) add(d Database) error {
	o := s.accounts[d.Account]
	if o == nil {
		o = &owner{names: map[string]*database{}, memory: &engine.Pool{Limit: s.opts.TotalMemory / 2, Parent: s.memory}}
		s.accounts[d.Account] = o
	}
	db := &database{Database: d, st: s, owner: o, path: filepath.Join(s.dir, string(d.ID)+extension), lead: make(chan struct{}, 1)}
	opts := s.opts.history
	opts.Grown = func(n int64) { o.history.Add(n) }
	var err error
	if db.history, err = history.Open(db.path+".history", opts); err != nil { // after its file in order: see package backup
		return err
	}
	db.ended, db.end = context.WithCancelCause(context.Background())
	db.meter = engine.NewMeter(s.opts.CallMemory, o.memory)
	db.marked.Store(&bookmark{})
	o.names[d.Name] = db
	s.dbs[d.ID] = db
	return nil
}

// Close waits for the calls under way, and closes all files.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = map[*database]bool{}
	s.mu.Unlock()
	s.cancel(errShutdown)
	s.running.Wait()
	var errs []error
	for db := range open {
		db.lead <- struct{}{}
		errs = append(errs, db.closeFiles())
		<-db.lead
	}
	return errors.Join(append(errs, s.registry.Close())...)
}

// Run closes the files of databases that nobody uses, and forgets what is old of their history, until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.IdleAfter / 2)
	defer tick.Stop()
	age := time.NewTicker(10 * time.Minute)
	defer age.Stop()
	s.ageHistory(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.closeIdle(s.opts.Now().Add(-s.opts.IdleAfter))
		case <-age.C:
			s.expireTransfers()
			s.ageHistory(ctx)
		}
	}
}

// closeIdle closes what was not used since then, unless it is in use.
func (s *Store) closeIdle(since time.Time) {
	s.mu.RLock()
	var idle []*database
	for db := range s.open {
		if db.used.Load() < since.UnixNano() {
			idle = append(idle, db)
		}
	}
	s.mu.RUnlock()
	for _, db := range idle {
		select {
		case db.lead <- struct{}{}:
			if err := db.closeFiles(); err != nil {
				s.lg.Error("close database", "database", db.ID, "err", err)
			}
			db.unlead()
		default:
		}
	}
}

// makeRoom closes the least recently used databases where too many are open.
func (s *Store) makeRoom() {
	s.mu.RLock()
	over := len(s.open) - s.opts.MaxOpen
	var oldest *database
	for db := range s.open {
		if over >= 0 && (oldest == nil || db.used.Load() < oldest.used.Load()) {
			oldest = db
		}
	}
	s.mu.RUnlock()
	if oldest != nil {
		s.closeIdle(time.Unix(0, oldest.used.Load()+1))
	}
}

func (s *Store) opened(db *database, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.open[db] = true
	} else {
		delete(s.open, db)
	}
}
