// Package queue is Queues on this node: named queues of messages, kept in one SQLite file, the HTTP protocol that workerd's
// queue binding speaks to them, delivery in batches to consumer Workers, and pulls over the API.
//
// It runs no Worker: [Options].Deliver does. It knows nothing of permissions; who may touch a queue is decided by whoever
// names it.
//
// Invariant: a message that was acknowledged to its producer is on disk, and stays there until a consumer has acknowledged
// it, it has been retried as often as its consumer allows, its retention ends, or its queue is purged or deleted. So it is
// delivered at least once; more often where a consumer or the node fails in between. Which messages of a queue are being
// delivered right now is known in memory only: this process alone delivers them, and after a crash they are due again. A
// pull's lease is on disk.
//
// Concurrency: a Store may be used from any number of goroutines. Changes that meet share a commit. A queue with a consumer
// Worker has one goroutine, its pump, which sleeps until something is due: an idle queue costs nothing.
package queue

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options are what a Store may be told.
type Options struct {
	// Deliver hands a batch to a consumer Worker. Without it nothing is delivered.
	Deliver Deliver
	// AccountBytes is how much the messages of one account may take, QueueBytes those of one queue; 0 means no bound.
	AccountBytes, QueueBytes int64
}

// Store is all queues of a node.
type Store struct {
	lg   *slog.Logger
	opts Options
	db   *sqlite.DB

	seq    atomic.Int64  // of the newest message
	config chan struct{} // holds a token while a queue or a consumer changes, see turn

	mu      sync.RWMutex
	byID    map[ID]*queue
	byName  map[ownName]*queue
	usage   map[atoll.AccountID]*atomic.Int64 // footprint of its messages
	running context.Context                   // of Run; nil: pumps are not to run yet
	pumps   *errgroup.Group
}

// ownName is a queue's name in its account.
type ownName struct {
	account atoll.AccountID
	name    Name
}

// Open opens dir/queues.db, making it where it does not exist. The logger may be nil.
func Open(lg *slog.Logger, dir string, opts Options) (*Store, error) {
	if lg == nil {
		lg = slog.New(slog.DiscardHandler)
	}
	db, err := sqlite.Open(lg, filepath.Join(dir, "queues.db"), migrations)
	if err != nil {
		return nil, fmt.Errorf("open queues: %w", err)
	}
	s := &Store{lg: lg, opts: opts, db: db, config: make(chan struct{}, 1), byID: map[ID]*queue{}, byName: map[ownName]*queue{}, usage: map[atoll.AccountID]*atomic.Int64{}}
	if err := s.load(context.Background()); err != nil {
		db.Close()
		return nil, fmt.Errorf("open queues: %w", err)
	}
	return s, nil
}

// Close closes the file. Run must have returned.
func (s *Store) Close() error { return s.db.Close() }

// load reads what is kept in memory: the queues with their consumers and how much they hold.
func (s *Store) load(ctx context.Context) error {
	list, err := sqlite.All(ctx, s.db.Reads(), scanQueue, selectQueues)
	if err != nil {
		return err
	}
	byNum := map[int64]*queue{}
	for _, q := range list {
		byNum[q.num] = q
		s.add(q)
	}
	consumers, err := sqlite.All(ctx, s.db.Reads(), scanConsumer, selectConsumers)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		byNum[c.queue].consumer = &c
	}
	for _, q := range list {
		held, err := sqlite.One(ctx, s.db.Reads(), scanHeld, `SELECT count(*), coalesce(sum(size), 0) FROM messages WHERE queue = ?`, q.num)
		if err != nil {
			return err
		}
		q.charge(held)
	}
	newest, err := sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT coalesce(max(seq), 0) FROM messages`)
	s.seq.Store(newest)
	return err
}

// Run delivers messages and removes what has expired, until ctx is done. What is being delivered then is delivered again
// after the next start, unless its consumer still answers.
func (s *Store) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running, s.pumps = ctx, &errgroup.Group{}
	for _, q := range s.byID {
		s.startLocked(q)
	}
	s.mu.Unlock()
	s.sweepUntil(ctx)
	s.mu.Lock()
	s.running = nil // no pump starts any more
	s.mu.Unlock()
	return s.pumps.Wait()
}

// startLocked starts the queue's pump where it has a consumer to deliver to. It runs until the queue is deleted.
func (s *Store) startLocked(q *queue) {
	if s.running == nil || s.opts.Deliver == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pumping || q.gone || q.consumer == nil || q.consumer.Type != Worker {
		return
	}
	q.pumping = true
	ctx := s.running
	s.pumps.Go(func() error {
		(&pump{s: s, q: q, more: true, held: map[int64]bool{}}).run(ctx)
		return nil
	})
}

// changed has the queue's pump look at its queue and its consumer again, and starts it where it is needed now.
func (s *Store) changed(q *queue) {
	s.mu.Lock()
	s.startLocked(q)
	s.mu.Unlock()
	q.poke()
}

func now() time.Time { return time.Now().Truncate(time.Millisecond) }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
