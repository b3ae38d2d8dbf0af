// Package store keeps the node's metadata in one SQLite file: accounts, tokens, dispatch namespaces, scripts with their
// versions and deployments, zones, routes, schedules. It is not where the modules' bytes are (package durable), nor
// customers' data (package kv and its like), and it decides nothing: packages deploy and api do.
//
// Invariant: a method that writes has put its whole change on disk when it returns nil, and nothing of it when it returns
// an error. Secrets are in the file only as AES-256-GCM ciphertext, bound to their script, version and name.
//
// All methods may be called concurrently. Writes are queued and share transactions; reads run beside them on a pool of
// their own and see every write that has returned. One process at a time may open a directory.
package store

import (
	"errors"
	"log/slog"
	"time"
)

var errTodo = errors.ErrUnsupported

// DB is an open store.
type DB struct{}

// Open opens DIR/atoll.db, makes it where it is missing, and brings its schema up to date.
func Open(lg *slog.Logger, dir string, key Key) (*DB, error) { return nil, errTodo }

// Close waits for queries under way and closes the file.
func (db *DB) Close() error { return errTodo }

// Key is the AES-256 key that seals secrets.
type Key [32]byte

// LoadKey returns the key given in env (the value of ATOLL_SECRET_KEY: 32 bytes in hex or base64), and where that is
// empty the one in DIR/secret.key, which it makes at the first start.
func LoadKey(dir string, env string) (Key, error) { return Key{}, errTodo }

var _ time.Time
