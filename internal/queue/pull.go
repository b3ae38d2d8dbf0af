package queue

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Pulled is a message that somebody has pulled.
type Pulled struct {
	Message
	Lease string // acknowledges it
}

// Pull leases messages that are due, as many as count or, where it is 0, the consumer's batch_size, for so long or, where
// it is 0, the consumer's visibility timeout: https://developers.cloudflare.com/queues/configuration/pull-consumers/
func (s *Store) Pull(ctx context.Context, account atoll.AccountID, id ID, count int64, lease time.Duration) ([]Pulled, Metrics, error) {
	q, c, err := s.puller(account, id)
	if err != nil {
		return nil, Metrics{}, err
	}
	if count == 0 {
		count = c.Batch
	}
	if lease == 0 {
		lease = c.Visibility
	}
	if count < 1 || count > MaxBatch {
		return nil, Metrics{}, fault.Newf(fault.Invalid, codeMessage, "batch_size must be from 1 to %d.", MaxBatch)
	}
	if err := checkVisibility(lease); err != nil {
		return nil, Metrics{}, err
	}
	var got []Pulled
	for x := q.show(); !x.Settings.Paused; {
		var failed []int64
		got, failed, err = s.lease(ctx, q, x, c, count, lease)
		if err == nil && len(failed) > 0 {
			err = s.settle(ctx, q, c, verdicts{failed: failed})
		}
		if err != nil {
			return nil, Metrics{}, fmt.Errorf("pull from queue %s: %w", id, err)
		}
		if len(failed) == 0 || len(got) > 0 {
			break
		}
	}
	m, err := s.metrics(ctx, q)
	return got, m, err
}

// puller returns a queue of the account that is pulled from.
func (s *Store) puller(account atoll.AccountID, id ID) (*queue, *Consumer, error) {
	q, err := s.owned(account, id)
	if err != nil {
		return nil, nil, err
	}
	if c := q.show().Consumer; c != nil && c.Type == Pull {
		return q, c, nil
	}
	return nil, nil, fault.New(fault.Invalid, codeMessage, "messages cannot be pulled unless http_pull mode is enabled")
}

// lease leases messages. Those that have been pulled as often as they may be it leaves to its caller.
func (s *Store) lease(ctx context.Context, q *queue, x Queue, c *Consumer, count int64, lease time.Duration) (got []Pulled, failed []int64, err error) {
	err = s.db.WriteFor(ctx, q.num, func(ctx context.Context, tx sqlite.Session) error {
		at := now().UnixMilli()
		messages, err := sqlite.All(ctx, tx, scanMessage, `SELECT seq, id, sent, attempts, type, body FROM messages
			WHERE queue = ?1 AND due <= ?2 AND stored > ?3 ORDER BY due, seq LIMIT ?4`, q.num, at, at-x.Settings.Retention*1000, count)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Attempts > c.Retries+1 {
				failed = append(failed, m.seq)
				continue
			}
			nonce := newNonce()
			if _, err := sqlite.Run(ctx, tx, `UPDATE messages SET due = ?, attempts = ?, lease = ? WHERE seq = ?`,
				at+lease.Milliseconds(), m.Attempts, nonce, m.seq); err != nil {
				return err
			}
			got = append(got, Pulled{m, leaseID(m.seq, nonce)})
		}
		return nil
	})
	return got, failed, err
}

// A lease's id is the message's seq and the nonce that it was leased with.
func leaseID(seq, nonce int64) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(seq))
	binary.BigEndian.PutUint64(b[8:], uint64(nonce))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func parseLease(id string) (seq, nonce int64, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(b) != 16 {
		return 0, 0, false
	}
	return int64(binary.BigEndian.Uint64(b[:8])), int64(binary.BigEndian.Uint64(b[8:])), true
}

func newNonce() int64 {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return int64(binary.BigEndian.Uint64(b[:]))
}

// Retry is a leased message to be delivered again.
type Retry struct {
	Lease string
	Delay *int64 // seconds; nil: the consumer's
}

// Acked is what an acknowledgement came to.
type Acked struct {
	Acks, Retries int64
	Warnings      map[string]string // by lease
}

// maxAcks is how many messages are acknowledged or retried at once.
const maxAcks = 1000

// Ack acknowledges leased messages, and has others delivered again. A lease that has run out holds until somebody else has
// pulled the message.
func (s *Store) Ack(ctx context.Context, account atoll.AccountID, id ID, acks []string, retries []Retry) (Acked, error) {
	q, c, err := s.puller(account, id)
	if err != nil {
		return Acked{}, err
	}
	if len(acks)+len(retries) > maxAcks {
		return Acked{}, fault.Newf(fault.TooLarge, codeMessage, "%d messages are acknowledged or retried; at once it may be %d", len(acks)+len(retries), maxAcks)
	}
	for _, r := range retries {
		if err := checkDelay(r.Delay); err != nil {
			return Acked{}, err
		}
	}
	out := Acked{Warnings: map[string]string{}}
	attempts := func(lease string) (seq, n int64, err error) {
		seq, nonce, ok := parseLease(lease)
		if ok {
			n, err = sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64], `SELECT attempts FROM messages WHERE seq = ? AND queue = ? AND lease = ?`, seq, q.num, nonce)
		}
		if !ok || sqlite.Missing(err) {
			out.Warnings[lease] = "The lease is not valid: it has run out and the message was pulled again, or it was acknowledged before."
			return 0, 0, nil
		}
		return seq, n, err
	}
	var v verdicts
	for _, lease := range acks {
		seq, _, err := attempts(lease)
		if err != nil {
			return Acked{}, fmt.Errorf("find lease: %w", err)
		}
		if seq != 0 {
			v.done = append(v.done, seq)
			out.Acks++
		}
	}
	for _, r := range retries {
		seq, n, err := attempts(r.Lease)
		if err != nil {
			return Acked{}, fmt.Errorf("find lease: %w", err)
		}
		if seq != 0 {
			v.retry(c, seq, n, r.Delay)
			out.Retries++
		}
	}
	return out, s.settle(ctx, q, c, v)
}
