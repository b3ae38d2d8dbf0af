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
	"embed"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"atoll.dev/atoll/internal/sqlite"
)

// migrations are the steps from an empty file to today's schema.
//
//go:embed migrations/*.sql
var migrations embed.FS

// DB is an open store.
type DB struct {
	lg    *slog.Logger
	aead  cipher.AEAD // seals secrets
	file  *sqlite.DB
	reads sqlite.Session
}

// Open opens DIR/atoll.db, makes it where it is missing, brings its schema up to date, and finishes deletions of
// namespaces that a crash cut short. It fails if the file was sealed with another key.
func Open(lg *slog.Logger, dir string, key Key) (_ *DB, err error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	path := filepath.Join(dir, "atoll.db")
	file, err := sqlite.Open(lg, path, migrations)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db := &DB{lg: lg, aead: key.aead(), file: file, reads: file.Reads()}
	defer func() {
		if err != nil {
			db.Close()
		}
	}()
	ctx := context.Background()
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
	if err := db.file.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// write runs fn in a transaction and returns once that is on disk.
func (db *DB) write(ctx context.Context, fn func(ctx context.Context, tx sqlite.Session) error) error {
	return db.file.Write(ctx, fn)
}

func micros(t time.Time) int64 { return t.UnixMicro() }

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// now is the time to store: what a caller gets back at once is what it reads later.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
