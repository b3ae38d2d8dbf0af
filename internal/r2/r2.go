// Package r2 is R2 on this node: buckets of objects with their metadata, multipart uploads, and the HTTP protocol that
// workerd's r2Bucket binding speaks to them.
//
// Metadata is in one SQLite file, and so is the content of small objects; a larger one is a file of its own, and an object
// that was uploaded in parts is read from the files of its parts, one after the other. It knows nothing of scripts, tokens
// and permissions: who may touch a bucket is decided by whoever hands out its name. Package s3 speaks S3's protocol to it.
//
// Invariant: a file is whole and on disk before a row names it, and is removed only after no row names it and nobody reads
// it: so an object that can be seen can be read to its end, as it was put. What was acknowledged is on disk. A file that a
// crash left without a row is found when the store is opened the next time.
//
// Concurrency: a Store may be used from any number of goroutines; one process at a time may have a directory open.
package r2

import (
	"context"
	"crypto/rand"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// Options are what a Store may be told; the zero value is for production.
type Options struct {
	AccountBytes int64            // how much one account may store, keys and metadata included; 0 means no bound
	OpenUploads  int              // multipart uploads that a bucket may have open; 0 means 10,000
	Writes       int              // objects and parts that may be on their way into a bucket at once; 0 means 512
	UploadTTL    time.Duration    // after which an open multipart upload is aborted; 0 means 7 days
	Stall        time.Duration    // how long a Worker's upload may rest without a byte; 0 means one minute
	MinPart      int64            // the least size of parts but the last; 0 means MinPart
	Now          func() time.Time // nil means time.Now
}

// Store is all R2 buckets of a node.
type Store struct {
	lg     *slog.Logger
	opts   Options
	db     *sqlite.DB
	files  *files
	secret []byte        // of upload ids
	wake   chan struct{} // tells Run that there is garbage

	mu      sync.RWMutex
	buckets map[Ref]*bucket

	quota quota
	pins  pins
}

// Ref names a bucket.
type Ref struct {
	Account atoll.AccountID
	Name    string
}

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens the store in dir/r2, making it where it does not exist. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (_ *Store, err error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.OpenUploads == 0 {
		opts.OpenUploads = 10_000
	}
	if opts.Writes == 0 {
		opts.Writes = 512
	}
	if opts.UploadTTL == 0 {
		// https://developers.cloudflare.com/r2/buckets/object-lifecycles/: "incomplete multipart uploads after seven days"
		opts.UploadTTL = 7 * 24 * time.Hour
	}
	if opts.Stall == 0 {
		opts.Stall = time.Minute
	}
	if opts.MinPart == 0 {
		opts.MinPart = MinPart
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Store{lg: lg, opts: opts, wake: make(chan struct{}, 1), buckets: map[Ref]*bucket{}}
	s.quota.accounts, s.quota.writes = map[atoll.AccountID]*usage{}, map[Ref]int{}
	s.pins.refs = map[string]int{}
	dir = filepath.Join(dir, "r2")
	if s.db, err = sqlite.Open(lg, filepath.Join(dir, "r2.db"), migrations); err != nil {
		return nil, fmt.Errorf("open r2 store: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open r2 store: %w", err), s.Close())
		}
	}()
	if s.files, err = openFiles(filepath.Join(dir, "objects")); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if err = s.loadSecret(ctx); err != nil {
		return nil, err
	}
	return s, s.loadBuckets(ctx)
}

// loadSecret reads the secret that upload ids are made with, and makes it the first time.
func (s *Store) loadSecret(ctx context.Context) error {
	fresh := make([]byte, 32)
	rand.Read(fresh)
	return s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
		if _, err := sqlite.Run(ctx, tx, `INSERT OR IGNORE INTO meta (name, value) VALUES ('secret', ?)`, fresh); err != nil {
			return err
		}
		s.secret, err = sqlite.One(ctx, tx, sqlite.Value[[]byte], `SELECT value FROM meta WHERE name = 'secret'`)
		return err
	})
}

// Close waits for the writes under way, refuses further ones, and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Run removes what a crash left, and then what is deleted or expires, until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	if err := s.removeOrphans(ctx); err != nil && ctx.Err() == nil {
		s.lg.Error("look for orphans of r2", "err", err)
	}
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.lg.Error("sweep r2 store", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// kick tells Run that there may be garbage.
func (s *Store) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Store) now() time.Time { return s.opts.Now().UTC().Truncate(time.Millisecond) }

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
