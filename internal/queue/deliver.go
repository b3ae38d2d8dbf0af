package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/sqlite"
)

// Deliver calls the queue() of a consumer Worker with a batch, and says what became of it. An error says that the Worker has
// not been called or that nobody knows: the batch is delivered again, and that counts as no attempt.
type Deliver func(ctx context.Context, script atoll.ScriptRef, b *Batch) (Outcome, error)

// Batch is messages as they are delivered.
type Batch struct {
	Queue    Name
	Messages []Message
	Metrics  Metrics // of what is left in the queue
}

// Message is one message as it is delivered, for the first time with Attempts 1.
type Message struct {
	ID       string
	Sent     time.Time
	Attempts int64
	Type     ContentType
	Body     []byte

	seq int64
}

// Outcome is what a consumer Worker's queue() did with a batch. What it says of one message goes before what it says of
// all, and that before whether it returned: https://developers.cloudflare.com/queues/configuration/javascript-apis/#messagebatch
type Outcome struct {
	OK         bool              // it returned, and what it waited for ended well
	AckAll     bool              // ackAll() was called first
	RetryAll   bool              // retryAll() was
	RetryDelay *int64            // of retryAll(), in seconds
	Acks       []string          // ids of the messages whose ack() was called
	Retries    map[string]*int64 // ids of those whose retry() was called, and its delay
}

// verdicts are what a settled batch comes to, by seq.
type verdicts struct {
	done   []int64
	again  []again
	failed []int64 // too often
}

// again is a message that will be delivered again.
type again struct {
	seq, attempts int64
	delay         int64 // seconds
}

func (o *Outcome) judge(c *Consumer, list []Message) (v verdicts) {
	acked := make(map[string]bool, len(o.Acks))
	for _, id := range o.Acks {
		acked[id] = true
	}
	for _, m := range list {
		delay, retried := o.Retries[m.ID]
		switch {
		case acked[m.ID]:
			v.done = append(v.done, m.seq)
			continue
		case retried:
		case o.AckAll, !o.RetryAll && o.OK:
			v.done = append(v.done, m.seq)
			continue
		case o.RetryAll:
			delay = o.RetryDelay
		}
		v.retry(c, m.seq, m.Attempts, delay)
	}
	return v
}

// retry has a message delivered again after so many attempts, or fails it. A nil delay is the consumer's.
func (v *verdicts) retry(c *Consumer, seq, attempts int64, delay *int64) {
	if attempts > c.Retries {
		v.failed = append(v.failed, seq)
		return
	}
	a := again{seq: seq, attempts: attempts, delay: c.RetryDelay}
	if delay != nil {
		a.delay = min(max(*delay, 0), MaxDelay)
	}
	v.again = append(v.again, a)
}

// deadWait is after how long at the least a message is delivered again which failed too often and for which the dead letter
// queue has no room.
const deadWait = 60_000 // ms

// settle makes verdicts true: of messages that are done or have failed too often, the queue is rid. What has gone meanwhile,
// by a purge or because its retention ended, is passed over. Where the dead letter queue is full, what would go there stays:
// it is lost neither there nor here, and both keep to their bounds.
func (s *Store) settle(ctx context.Context, q *queue, c *Consumer, v verdicts) error {
	var dead *queue
	if len(v.failed) > 0 && c.DeadLetter != "" {
		var err error
		if dead, err = s.deadLetters(ctx, q, c.DeadLetter); err != nil {
			return fmt.Errorf("find dead letter queue %s: %w", c.DeadLetter, err)
		}
	}
	var gone, moved, reserved held
	kept := 0
	err := s.db.WriteFor(ctx, q.num, func(ctx context.Context, tx sqlite.Session) (err error) {
		drop := v.done
		if dead == nil {
			drop = append(drop[:len(drop):len(drop)], v.failed...)
		}
		if gone, err = remove(ctx, tx, q.num, drop); err != nil {
			return err
		}
		at := now().UnixMilli()
		for _, a := range v.again {
			if _, err := sqlite.Run(ctx, tx, `UPDATE messages SET due = ?, attempts = ?, lease = NULL WHERE seq = ? AND queue = ?`,
				at+a.delay*1000, a.attempts, a.seq, q.num); err != nil {
				return err
			}
		}
		if dead == nil {
			return nil
		}
		var fit, back []int64
		if fit, back, reserved, err = s.admit(ctx, tx, q, dead, v.failed); err != nil {
			return err
		}
		kept = len(back)
		if err := postpone(ctx, tx, q.num, back, at+max(c.RetryDelay*1000, deadWait)); err != nil {
			return err
		}
		moved, err = move(ctx, tx, q.num, dead.num, fit, at)
		return err
	})
	if dead != nil {
		defer dead.unexpect(reserved)
	}
	if err != nil {
		return fmt.Errorf("settle batch of queue %s: %w", q.id, err)
	}
	q.charge(gone.minus())
	if n := len(v.failed); n > 0 {
		s.lg.Warn("messages failed too often", "account", q.account, "queue", q.id, "messages", n, "dead_letter_queue", c.DeadLetter, "kept", kept)
	}
	if dead != nil {
		q.charge(moved.minus())
		dead.charge(moved)
		dead.poke()
	}
	return nil
}

// admit tells for which of a queue's messages a dead letter queue has room, and has it keep that.
func (s *Store) admit(ctx context.Context, tx sqlite.Session, q, dead *queue, seqs []int64) (fit, back []int64, charged held, err error) {
	type message struct{ seq, size int64 }
	list, err := sqlite.All(ctx, tx, func(r sqlite.Row) (m message, err error) {
		err = r.Scan(&m.seq, &m.size)
		return m, err
	}, `SELECT seq, size FROM messages WHERE seq IN (SELECT value FROM json_each(?1)) AND queue = ?2 ORDER BY seq`, array(seqs), q.num)
	for _, m := range list {
		h := held{1, m.size}
		if !dead.expect(h, s.opts.QueueBytes) {
			back = append(back, m.seq)
			continue
		}
		fit = append(fit, m.seq)
		charged.count += h.count
		charged.bytes += h.bytes
	}
	return fit, back, charged, err
}

// postpone has messages be delivered again at a time, as if they had not been this time.
func postpone(ctx context.Context, tx sqlite.Session, queue int64, seqs []int64, due int64) error {
	if len(seqs) == 0 {
		return nil
	}
	_, err := sqlite.Run(ctx, tx, `UPDATE messages SET due = ?3, lease = NULL WHERE seq IN (SELECT value FROM json_each(?1)) AND queue = ?2`,
		array(seqs), queue, due)
	return err
}

// deadLetters returns the queue of that name, made where it is missing: a message is not lost for a queue that is.
func (s *Store) deadLetters(ctx context.Context, q *queue, name Name) (*queue, error) {
	if dead, err := s.named(q.account, name); err == nil {
		return dead, nil
	}
	done, err := s.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.ensure(ctx, q.account, name)
}

// remove deletes those of the messages that the queue still has.
func remove(ctx context.Context, tx sqlite.Session, queue int64, seqs []int64) (held, error) {
	if len(seqs) == 0 {
		return held{}, nil
	}
	return tally(ctx, tx, `DELETE FROM messages WHERE seq IN (SELECT value FROM json_each(?1)) AND queue = ?2 RETURNING size`, array(seqs), queue)
}

// move puts messages into another queue, as new ones that keep their id and the time they were sent.
func move(ctx context.Context, tx sqlite.Session, from, to int64, seqs []int64, at int64) (held, error) {
	if len(seqs) == 0 {
		return held{}, nil
	}
	return tally(ctx, tx, `UPDATE messages SET queue = ?3, due = ?4, stored = ?4, attempts = 0, lease = NULL
		WHERE seq IN (SELECT value FROM json_each(?1)) AND queue = ?2 RETURNING size`, array(seqs), from, to, at)
}

// tally runs a statement that returns the sizes of the messages that it changed.
func tally(ctx context.Context, tx sqlite.Session, query string, args ...any) (h held, err error) {
	sizes, err := sqlite.All(ctx, tx, sqlite.Value[int64], query, args...)
	for _, n := range sizes {
		h.count++
		h.bytes += n
	}
	return h, err
}

// array writes numbers as json_each reads them.
func array(seqs []int64) string {
	b, _ := json.Marshal(seqs) // numbers always marshal
	return string(b)
}
