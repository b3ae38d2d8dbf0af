package queue

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// sweepEvery is how often what has expired and what belongs to deleted queues is removed.
const sweepEvery = 30 * time.Second

func (s *Store) sweepUntil(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.lg.Error("sweep queues", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep removes the messages whose retention has ended, and those of deleted queues.
func (s *Store) sweep(ctx context.Context) error {
	for _, q := range s.all(func(q *queue) bool { return q.count.Load() > 0 }) {
		before := now().UnixMilli() - q.show().Settings.Retention*1000
		n, err := s.removeStored(ctx, q.num, before, q)
		if err != nil {
			return fmt.Errorf("remove expired messages: %w", err)
		}
		if n > 0 {
			s.lg.Info("messages expired", "account", q.account, "queue", q.id, "messages", n)
		}
	}
	dead, err := sqlite.All(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT queue FROM dead`)
	if err != nil {
		return fmt.Errorf("list deleted queues: %w", err)
	}
	for _, num := range dead {
		if _, err := s.removeStored(ctx, num, forever, nil); err != nil {
			return fmt.Errorf("remove messages of deleted queues: %w", err)
		}
		err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			_, err := sqlite.Run(ctx, tx, `DELETE FROM dead WHERE queue = ?`, num)
			return err
		})
		if err != nil {
			return fmt.Errorf("remove messages of deleted queues: %w", err)
		}
	}
	return nil
}

const forever = 1 << 62

// sweepChunk is how many messages are removed in one transaction, which others may wait for.
const sweepChunk = 500

// removeStored removes the messages of a queue that were stored at that time or before. q is nil where the queue is deleted.
func (s *Store) removeStored(ctx context.Context, num, before int64, q *queue) (total int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return total, err
		}
		var gone held
		err := s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
			gone, err = tally(ctx, tx, `DELETE FROM messages WHERE seq IN
				(SELECT seq FROM messages WHERE queue = ? AND stored <= ? ORDER BY stored LIMIT ?) RETURNING size`, num, before, sweepChunk)
			return err
		})
		if err != nil {
			return total, err
		}
		if q != nil {
			q.charge(gone.minus())
		}
		if total += gone.count; gone.count < sweepChunk {
			return total, nil
		}
	}
}

// Purge removes all messages that the queue has now.
func (s *Store) Purge(ctx context.Context, account atoll.AccountID, id ID) (Queue, error) {
	q, err := s.owned(account, id)
	if err != nil {
		return Queue{}, err
	}
	at := now().UnixMilli()
	_, err = s.removeStored(ctx, q.num, at, q)
	if err == nil {
		err = s.db.Write(ctx, func(ctx context.Context, tx sqlite.Session) error {
			_, err := sqlite.Run(ctx, tx, `UPDATE queues SET purged = ? WHERE num = ?`, at, q.num)
			return err
		})
	}
	if err != nil {
		return Queue{}, fmt.Errorf("purge queue %s: %w", id, err)
	}
	return q.show(), nil
}

// Purged returns when the queue was purged last; the zero time where it never was.
func (s *Store) Purged(ctx context.Context, account atoll.AccountID, id ID) (time.Time, error) {
	q, err := s.owned(account, id)
	if err != nil {
		return time.Time{}, err
	}
	at, err := sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT purged FROM queues WHERE num = ?`, q.num)
	if err != nil || at == 0 {
		return time.Time{}, err
	}
	return fromMillis(at), nil
}
