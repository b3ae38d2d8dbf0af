package queue

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ConsumerType says how messages leave a queue.
type ConsumerType string

// The types of consumers.
const (
	Worker ConsumerType = "worker"    // batches are delivered to a Worker's queue()
	Pull   ConsumerType = "http_pull" // whoever may pulls them over the API
)

// Consumer is what takes the messages of a queue. A queue has one, or none.
type Consumer struct {
	ID         ID
	Type       ConsumerType
	Script     atoll.ScriptRef // of a Worker
	DeadLetter Name            // where messages go that failed too often; empty: they are dropped
	Batch      int64           // messages delivered or pulled at once, at the most
	Retries    int64           // how often a message is delivered again
	RetryDelay int64           // seconds until then, where the consumer says nothing else
	Created    time.Time

	Wait        time.Duration // of a Worker: how long a batch is waited for to be full
	Concurrency int64         // of a Worker: batches delivered at once, at the most; 0: AutoConcurrency
	Visibility  time.Duration // of Pull: how long a message is leased to who pulled it

	queue int64
}

// AutoConcurrency is how many batches of a queue are delivered at once where its consumer sets no max_concurrency.
const AutoConcurrency = 10

// DefaultConsumer returns a consumer of that type as it is where nothing is set:
// https://developers.cloudflare.com/queues/configuration/configure-queues/#consumer-worker-configuration
func DefaultConsumer(t ConsumerType) Consumer {
	c := Consumer{Type: t, Batch: 10, Retries: 3, Wait: 5 * time.Second, Visibility: 30 * time.Second}
	if t == Pull {
		c.Batch = 5
	}
	return c
}

// The bounds of a consumer's settings: https://developers.cloudflare.com/queues/platform/limits/
const (
	maxRetries     = 100
	maxWait        = 60 * time.Second
	maxConcurrency = 250
	maxVisibility  = 12 * time.Hour
)

func (c *Consumer) check() error {
	bad := func(format string, args ...any) error {
		return fault.Newf(fault.Invalid, codeConsumerSettings, format, args...)
	}
	switch {
	case c.Type != Worker && c.Type != Pull:
		return bad("A consumer's type must be worker or http_pull, not %q.", c.Type)
	case c.Type == Worker && c.Script.Name == "":
		return bad("A consumer of type worker needs a script_name.")
	case c.Batch < 1 || c.Batch > MaxBatch:
		return bad("batch_size must be from 1 to %d.", MaxBatch)
	case c.Retries < 0 || c.Retries > maxRetries:
		return bad("max_retries must be from 0 to %d.", maxRetries)
	case c.RetryDelay < 0 || c.RetryDelay > MaxDelay:
		return bad("retry_delay must be from 0 to %d seconds.", MaxDelay)
	case c.Wait < 0 || c.Wait > maxWait:
		return bad("max_wait_time_ms must be from 0 to %d.", maxWait.Milliseconds())
	case c.Concurrency < 0 || c.Concurrency > maxConcurrency:
		return bad("max_concurrency must be from 1 to %d, or null.", maxConcurrency)
	}
	return checkVisibility(c.Visibility)
}

func checkVisibility(d time.Duration) error {
	if d < time.Millisecond || d > maxVisibility {
		return fault.Newf(fault.Invalid, codeConsumerSettings, "visibility_timeout_ms must be from 1 to %d.", maxVisibility.Milliseconds())
	}
	return nil
}

const selectConsumers = `SELECT queue, c.id, type, account, namespace, script, dead_letter, batch, retries, wait_ms, concurrency,
	retry_delay, visibility_ms, c.created FROM consumers c JOIN queues q ON q.num = c.queue`

func scanConsumer(row sqlite.Row) (c Consumer, err error) {
	var wait, visibility, created int64
	err = row.Scan(&c.queue, &c.ID, &c.Type, &c.Script.Account, &c.Script.Namespace, &c.Script.Name, &c.DeadLetter, &c.Batch, &c.Retries,
		&wait, &c.Concurrency, &c.RetryDelay, &visibility, &created)
	c.Wait, c.Visibility, c.Created = time.Duration(wait)*time.Millisecond, time.Duration(visibility)*time.Millisecond, fromMillis(created)
	return c, err
}

// AddConsumer gives a queue that has none a consumer. Its dead letter queue is made where there is none of that name:
// https://developers.cloudflare.com/workers/wrangler/configuration/#queues
func (s *Store) AddConsumer(ctx context.Context, account atoll.AccountID, id ID, c Consumer) (Consumer, error) {
	return s.putConsumer(ctx, account, id, &c, func(q Queue) error {
		if q.Consumer != nil {
			return fault.Newf(fault.Conflict, codeConsumerExists, "Queue '%s' already has a consumer.", q.Name)
		}
		c.ID, c.Created = ID(atoll.NewID()), now().UTC()
		return nil
	})
}

// UpdateConsumer replaces a queue's consumer, which must be the one of the given id.
func (s *Store) UpdateConsumer(ctx context.Context, account atoll.AccountID, id, consumer ID, c Consumer) (Consumer, error) {
	return s.putConsumer(ctx, account, id, &c, func(q Queue) error {
		if q.Consumer == nil || q.Consumer.ID != consumer {
			return errConsumer()
		}
		c.ID, c.Created = consumer, q.Consumer.Created
		return nil
	})
}

// putConsumer sets the queue's consumer to c, which allow may refuse or complete.
func (s *Store) putConsumer(ctx context.Context, account atoll.AccountID, id ID, c *Consumer, allow func(Queue) error) (Consumer, error) {
	done, err := s.turn(ctx)
	if err != nil {
		return Consumer{}, fmt.Errorf("set consumer of queue %s: %w", id, err)
	}
	defer done()
	q, err := s.owned(account, id)
	if err == nil {
		err = allow(q.show())
	}
	if err == nil {
		err = c.check()
	}
	if err == nil && c.DeadLetter == q.show().Name {
		err = fault.New(fault.Invalid, codeConsumerSettings, "A queue cannot be its own dead letter queue.")
	}
	if err == nil && c.DeadLetter != "" {
		_, err = s.ensure(ctx, account, c.DeadLetter)
	}
	if err == nil {
		err = s.writeConsumer(ctx, q, *c)
	}
	if err != nil {
		return Consumer{}, fmt.Errorf("set consumer of queue %s: %w", id, err)
	}
	q.mu.Lock()
	q.consumer = c
	q.mu.Unlock()
	s.changed(q)
	return *c, nil
}

// ensure returns the account's queue of that name, made where there is none, for who has the turn.
func (s *Store) ensure(ctx context.Context, account atoll.AccountID, name Name) (*queue, error) {
	if q, err := s.named(account, name); err == nil {
		return q, nil
	}
	return s.create(ctx, account, name, DefaultSettings)
}

func (s *Store) writeConsumer(ctx context.Context, q *queue, c Consumer) error {
	return s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		_, err := sqlite.Run(ctx, tx, `INSERT OR REPLACE INTO consumers (queue, id, type, namespace, script, dead_letter, batch, retries,
			wait_ms, concurrency, retry_delay, visibility_ms, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			q.num, c.ID, c.Type, c.Script.Namespace, c.Script.Name, c.DeadLetter, c.Batch, c.Retries,
			c.Wait.Milliseconds(), c.Concurrency, c.RetryDelay, c.Visibility.Milliseconds(), c.Created.UnixMilli())
		return err
	})
}

// RemoveConsumer takes a queue's consumer away. Messages wait for another.
func (s *Store) RemoveConsumer(ctx context.Context, account atoll.AccountID, id, consumer ID) error {
	done, err := s.turn(ctx)
	if err != nil {
		return fmt.Errorf("remove consumer of queue %s: %w", id, err)
	}
	defer done()
	q, err := s.owned(account, id)
	if err == nil {
		if c := q.show().Consumer; c == nil || c.ID != consumer {
			err = errConsumer()
		}
	}
	if err == nil {
		err = s.removeConsumer(ctx, q)
	}
	if err != nil {
		return fmt.Errorf("remove consumer of queue %s: %w", id, err)
	}
	return nil
}

func (s *Store) removeConsumer(ctx context.Context, q *queue) error {
	err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		_, err := sqlite.Run(ctx, tx, `DELETE FROM consumers WHERE queue = ?`, q.num)
		return err
	})
	if err == nil {
		q.mu.Lock()
		q.consumer = nil
		q.mu.Unlock()
		q.poke()
	}
	return err
}

// Consumed returns the queues that the script is the consumer of.
func (s *Store) Consumed(ref atoll.ScriptRef) []Queue {
	var list []Queue
	for _, q := range s.all(func(q *queue) bool { return q.account == ref.Account }) {
		if x := q.show(); x.Consumer != nil && x.Consumer.Type == Worker && x.Consumer.Script == ref {
			list = append(list, x)
		}
	}
	return list
}

// ScriptGone removes the consumers that a deleted script was.
func (s *Store) ScriptGone(ctx context.Context, ref atoll.ScriptRef) error {
	for _, q := range s.Consumed(ref) {
		if err := s.RemoveConsumer(ctx, ref.Account, q.ID, q.Consumer.ID); err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return nil
}
