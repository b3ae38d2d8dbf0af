package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Settings are what a queue does with its messages by itself.
type Settings struct {
	Delay     int64 // seconds until a message is first delivered, where its producer says nothing else
	Retention int64 // seconds until a message that nobody has acknowledged is removed
	Paused    bool  // nothing is delivered
}

// DefaultSettings are those of a queue that was told nothing:
// https://developers.cloudflare.com/queues/configuration/configure-queues/
var DefaultSettings = Settings{Retention: 4 * 24 * 3600}

// The bounds of settings: https://developers.cloudflare.com/queues/platform/limits/
const (
	MaxQueues    = 10_000 // of an account
	MaxDelay     = 24 * 3600
	minRetention = 60
	maxRetention = 14 * 24 * 3600
)

func (x Settings) check() error {
	if x.Delay < 0 || x.Delay > MaxDelay {
		return fault.Newf(fault.Invalid, codeQueueSettings, "delivery_delay must be from 0 to %d seconds.", MaxDelay)
	}
	if x.Retention < minRetention || x.Retention > maxRetention {
		return fault.Newf(fault.Invalid, codeQueueSettings, "message_retention_period must be from %d to %d seconds.", minRetention, maxRetention)
	}
	return nil
}

// Queue is a queue as it is at one moment.
type Queue struct {
	ID                ID
	Account           atoll.AccountID
	Name              Name
	Settings          Settings
	Consumer          *Consumer // nil: it has none
	Created, Modified time.Time
}

// held is how many messages a queue has, and the bytes of their bodies.
type held struct{ count, bytes int64 }

func (h held) minus() held { return held{-h.count, -h.bytes} }

// messageBytes is what a message counts for beside its body: or a flood of empty ones would be nothing, and fill the disk.
const messageBytes = 256

// footprint is what messages count for where they are bounded.
func (h held) footprint() int64 { return h.bytes + h.count*messageBytes }

func scanHeld(row sqlite.Row) (h held, err error) {
	err = row.Scan(&h.count, &h.bytes)
	return h, err
}

// queue is what a queue is in memory.
type queue struct {
	num     int64
	id      ID
	account atoll.AccountID
	owner   *atomic.Int64 // footprint of the account's messages
	created time.Time

	count, bytes atomic.Int64
	wake         chan struct{} // of the pump; holds one token
	fresh        atomic.Bool   // something may be due that the pump has not seen

	mu       sync.Mutex
	name     Name
	settings Settings
	consumer *Consumer // never changed, but replaced
	modified time.Time
	oldest   oldest
	pumping  bool
	gone     bool
	expected held // on its way from other queues, whose dead letters it takes
}

const selectQueues = `SELECT num, id, account, name, delay, retention, paused, created, modified FROM queues`

func scanQueue(row sqlite.Row) (*queue, error) {
	q := &queue{wake: make(chan struct{}, 1)}
	var created, modified int64
	err := row.Scan(&q.num, &q.id, &q.account, &q.name, &q.settings.Delay, &q.settings.Retention, &q.settings.Paused, &created, &modified)
	q.created, q.modified = fromMillis(created), fromMillis(modified)
	return q, err
}

// charge counts messages that the queue has now, or, with a negative count, has no longer.
func (q *queue) charge(h held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return // what it held was taken off as a whole
	}
	q.count.Add(h.count)
	q.bytes.Add(h.bytes)
	q.owner.Add(h.footprint())
}

// expect keeps room for more within the bound, until it is charged or given up; false where there is none.
func (q *queue) expect(more held, bound int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := held{q.count.Load() + q.expected.count + more.count, q.bytes.Load() + q.expected.bytes + more.bytes}
	if over(all.footprint(), bound) {
		return false
	}
	q.unexpectLocked(more.minus())
	return true
}

// unexpect gives the room up.
func (q *queue) unexpect(h held) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unexpectLocked(h)
}

func (q *queue) unexpectLocked(h held) {
	q.expected.count -= h.count
	q.expected.bytes -= h.bytes
}

// poke tells the pump that something may be due, or that its consumer has changed.
func (q *queue) poke() {
	q.fresh.Store(true)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) show() Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Queue{ID: q.id, Account: q.account, Name: q.name, Settings: q.settings, Consumer: q.consumer, Created: q.created, Modified: q.modified}
}

// add puts a queue into the tables of memory.
func (s *Store) add(q *queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.owner = s.usage[q.account]; q.owner == nil {
		q.owner = new(atomic.Int64)
		s.usage[q.account] = q.owner
	}
	s.byID[q.id] = q
	s.byName[ownName{q.account, q.name}] = q
}

// owned returns the queue of that id, if it is the account's.
func (s *Store) owned(account atoll.AccountID, id ID) (*queue, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q := s.byID[id]; q != nil && q.account == account {
		return q, nil
	}
	return nil, errNotFound()
}

// named returns the account's queue of that name.
func (s *Store) named(account atoll.AccountID, name Name) (*queue, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if q := s.byName[ownName{account, name}]; q != nil {
		return q, nil
	}
	return nil, errNotFound()
}

// QueueExists reports whether the account has a queue of this name, for what uploads bind to.
func (s *Store) QueueExists(_ context.Context, account atoll.AccountID, name string) (bool, error) {
	_, err := s.named(account, Name(name))
	return err == nil, nil
}

// Queue returns one queue of an account.
func (s *Store) Queue(_ context.Context, account atoll.AccountID, id ID) (Queue, error) {
	q, err := s.owned(account, id)
	if err != nil {
		return Queue{}, err
	}
	return q.show(), nil
}

// Queues returns the account's queues in the order they were made.
func (s *Store) Queues(_ context.Context, account atoll.AccountID) []Queue {
	list := s.all(func(q *queue) bool { return q.account == account })
	shown := make([]Queue, len(list))
	for i, q := range list {
		shown[i] = q.show()
	}
	return shown
}

// all returns the queues that are wanted, in the order they were made.
func (s *Store) all(want func(*queue) bool) []*queue {
	var list []*queue
	s.mu.RLock()
	for _, q := range s.byID {
		if want(q) {
			list = append(list, q)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(list, func(a, b *queue) int { return cmp.Compare(a.num, b.num) })
	return list
}

// turn waits until no other queue or consumer is being made, changed or deleted: what is on disk and what is in memory then
// change together. Messages do not wait for it.
func (s *Store) turn(ctx context.Context) (done func(), err error) {
	select {
	case s.config <- struct{}{}:
		return func() { <-s.config }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// CreateQueue makes an empty queue. Its name must be new in the account.
func (s *Store) CreateQueue(ctx context.Context, account atoll.AccountID, name Name, x Settings) (Queue, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return Queue{}, fmt.Errorf("create queue %s: %w", name, err)
	}
	defer done()
	q, err := s.create(ctx, account, name, x)
	if err != nil {
		return Queue{}, fmt.Errorf("create queue %s: %w", name, err)
	}
	return q.show(), nil
}

// create is CreateQueue for who has the turn.
func (s *Store) create(ctx context.Context, account atoll.AccountID, name Name, x Settings) (*queue, error) {
	if err := x.check(); err != nil {
		return nil, err
	}
	if err := s.checkName(account, name); err != nil {
		return nil, err
	}
	if len(s.all(func(q *queue) bool { return q.account == account })) >= MaxQueues {
		return nil, fault.Newf(fault.Limited, codeQueueSettings, "The account has %d queues, as many as it may have.", MaxQueues)
	}
	q := &queue{id: ID(atoll.NewID()), account: account, name: name, settings: x, created: now().UTC(), wake: make(chan struct{}, 1)}
	q.modified = q.created
	err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
		q.num, err = sqlite.One(ctx, tx, sqlite.Value[int64], `INSERT INTO queues (id, account, name, delay, retention, paused, created, modified)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING num`, q.id, account, name, x.Delay, x.Retention, x.Paused, q.created.UnixMilli())
		return err
	})
	if err == nil {
		s.add(q)
	}
	return q, err
}

func (s *Store) checkName(account atoll.AccountID, name Name) error {
	if _, err := s.named(account, name); err != nil {
		return nil
	}
	return fault.Newf(fault.Conflict, codeNameTaken, "Queue name '%s' is already taken. Please use a different name and try again.", name)
}

// UpdateQueue gives a queue another name and other settings.
func (s *Store) UpdateQueue(ctx context.Context, account atoll.AccountID, id ID, name Name, x Settings) (Queue, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return Queue{}, fmt.Errorf("update queue %s: %w", id, err)
	}
	defer done()
	q, err := s.owned(account, id)
	if err == nil {
		err = x.check()
	}
	if err == nil && q.show().Name != name {
		err = s.checkName(account, name)
	}
	at := now().UTC()
	if err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			_, err := sqlite.Run(ctx, tx, `UPDATE queues SET name = ?, delay = ?, retention = ?, paused = ?, modified = ? WHERE num = ?`,
				name, x.Delay, x.Retention, x.Paused, at.UnixMilli(), q.num)
			return err
		})
	}
	if err != nil {
		return Queue{}, fmt.Errorf("update queue %s: %w", id, err)
	}
	s.mu.Lock()
	q.mu.Lock()
	delete(s.byName, ownName{account, q.name})
	q.name, q.settings, q.modified = name, x, at
	q.mu.Unlock()
	s.byName[ownName{account, name}] = q
	s.mu.Unlock()
	q.poke()
	return q.show(), nil
}

// DeleteQueue deletes a queue with its consumer and its messages; the messages' rows are removed in the background.
func (s *Store) DeleteQueue(ctx context.Context, account atoll.AccountID, id ID) error {
	done, err := s.turn(ctx)
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", id, err)
	}
	defer done()
	q, err := s.owned(account, id)
	if err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			if _, err := sqlite.Run(ctx, tx, `DELETE FROM queues WHERE num = ?`, q.num); err != nil {
				return err
			}
			_, err := sqlite.Run(ctx, tx, `INSERT OR IGNORE INTO dead (queue) VALUES (?)`, q.num)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", id, err)
	}
	s.mu.Lock()
	q.mu.Lock()
	delete(s.byID, q.id)
	delete(s.byName, ownName{account, q.name})
	q.gone, q.consumer = true, nil
	q.owner.Add(-held{q.count.Swap(0), q.bytes.Swap(0)}.footprint())
	q.mu.Unlock()
	s.mu.Unlock()
	q.poke()
	return nil
}
