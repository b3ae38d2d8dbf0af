// Package cache is what the Cache API of Workers (caches.open, caches.default) stores: responses by URL, for as long as
// they are fresh (RFC 9111), small ones in memory and large ones in files.
//
// Everything in it may be lost: an entry makes room for others, nothing is flushed, and a node that starts has an empty
// cache. It is not a cache of what fetch() brings, and it knows nothing of scripts: whoever calls it names an [Owner], and
// no owner ever sees another's entries.
//
// Invariant: what all entries take is within the bounds of Options at any moment, files that are being written included.
// An owner makes room by its own entries, or by those of an owner that has more than it; so nobody's cache is
// emptied by somebody else who fills his.
//
// Concurrency: a Store may be used from any number of goroutines. One lock guards the index; nothing is read or written
// under it.
package cache

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound a Store; zero values are the defaults, and for Account no bound.
type Options struct {
	Memory  int64            // bytes of all entries' heads and of small bodies; 64 MiB
	Disk    int64            // bytes of large bodies; 4 GiB
	Owner   int64            // bytes of one owner's, in memory and on disk; 1 GiB
	Account int64            // bytes of one account's
	Now     func() time.Time // nil: time.Now
}

const (
	// maxObject is the largest body: https://developers.cloudflare.com/workers/platform/limits/#cache-api-limits
	maxObject = 512 << 20
	// maxInline is the largest body that is kept in memory.
	maxInline = 64 << 10
	// sweepEvery is how often entries are dropped that are not fresh any more.
	sweepEvery = time.Minute
)

// Owner is whose entries they are. Entries of one owner are for nobody else.
type Owner struct {
	Account string
	ID      string // unique for all time: that of a script, or of a namespace whose Workers share their caches
}

// Store is the caches of a node.
type Store struct {
	lg    *slog.Logger
	dir   string
	opts  Options
	files atomic.Int64 // names given to files

	mu     sync.Mutex
	shares map[Owner]*share
	used   map[string]int64 // bytes by account
	total  use
	clock  int64 // counts uses
}

// Open returns an empty Store whose files are in dir, which it empties. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (*Store, error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	if opts.Memory == 0 {
		opts.Memory = 64 << 20
	}
	if opts.Disk == 0 {
		opts.Disk = 4 << 30
	}
	if opts.Owner == 0 {
		opts.Owner = 1 << 30
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the cache: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the cache's directory: %w", err)
	}
	return &Store{lg: lg, dir: dir, opts: opts, shares: map[Owner]*share{}, used: map[string]int64{}}, nil
}

// Run drops what is not fresh any more until ctx is done.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			s.sweep()
		}
	}
}

func (s *Store) sweep() {
	now := s.opts.Now()
	for _, sh := range s.allShares() {
		s.mu.Lock()
		var gone []string
		for _, list := range sh.lists() {
			for el := list.Front(); el != nil; {
				e := el.Value.(*entry)
				el = el.Next()
				if !e.fresh(now) {
					gone = append(gone, s.dropLocked(e))
				}
			}
		}
		s.tidyLocked(sh)
		s.mu.Unlock()
		s.remove(gone)
	}
}

func (s *Store) allShares() []*share {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*share, 0, len(s.shares))
	for _, sh := range s.shares {
		list = append(list, sh)
	}
	return list
}

// match returns the owner's entry under key that a request with such headers may be answered with, or nil.
func (s *Store) match(o Owner, key string, selects func(vary) bool) *entry {
	now := s.opts.Now()
	var gone []string
	s.mu.Lock()
	defer func() {
		s.mu.Unlock()
		s.remove(gone)
	}()
	sh := s.shares[o]
	if sh == nil {
		return nil
	}
	for _, e := range sh.entries[key] {
		if !selects(e.vary) {
			continue
		}
		if !e.fresh(now) {
			gone = append(gone, s.dropLocked(e))
			s.tidyLocked(sh)
			return nil
		}
		s.touchLocked(e)
		return e
	}
	return nil
}

// supersede removes what the owner has under key and what a newer response, which is not kept itself, stands for.
func (s *Store) supersede(o Owner, key string, selects func(vary) bool) {
	var gone []string
	s.mu.Lock()
	if sh := s.shares[o]; sh != nil {
		for _, e := range sh.entries[key] {
			if selects(e.vary) {
				gone = append(gone, s.dropLocked(e))
			}
		}
		s.tidyLocked(sh)
	}
	s.mu.Unlock()
	s.remove(gone)
}

// delete removes all that the owner has under key and says whether any of it was fresh.
func (s *Store) delete(o Owner, key string) bool {
	now, found := s.opts.Now(), false
	var gone []string
	s.mu.Lock()
	if sh := s.shares[o]; sh != nil {
		for _, e := range sh.entries[key] {
			found = found || e.fresh(now)
			gone = append(gone, s.dropLocked(e))
		}
		s.tidyLocked(sh)
	}
	s.mu.Unlock()
	s.remove(gone)
	return found
}

// path is where a file of a name is.
func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Store) newName() string { return strconv.FormatInt(s.files.Add(1), 36) }

// remove deletes the files of entries that were dropped; those without a file are named "".
func (s *Store) remove(names []string) {
	for _, name := range names {
		if name == "" {
			continue
		}
		if err := os.Remove(s.path(name)); err != nil {
			s.lg.Error("cannot delete a file of the cache", "err", err)
		}
	}
}
