package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// ContentType says what a message's body is: https://developers.cloudflare.com/queues/configuration/javascript-apis/#queuescontenttype
type ContentType string

// The content types.
const (
	Text  ContentType = "text"
	JSON  ContentType = "json"
	Bytes ContentType = "bytes"
	V8    ContentType = "v8" // as V8 serializes a value
)

// The bounds of what is sent and delivered at once: https://developers.cloudflare.com/queues/platform/limits/. A batch may
// have 256 KB of bodies; what is beyond is for what Cloudflare adds to each.
const (
	MaxBatch      = 100
	MaxMessage    = 128 * 1000
	maxBatchBytes = (256 + 32) * 1000
)

// Outgoing is a message to send.
type Outgoing struct {
	Type  ContentType
	Body  []byte
	Delay *int64 // seconds until it is delivered; nil: the batch's, the binding's or the queue's
}

func (m *Outgoing) check() error {
	switch {
	case len(m.Body) > MaxMessage:
		return fault.Newf(fault.TooLarge, codeMessage, "message length of %d bytes exceeds limit of %d", len(m.Body), MaxMessage)
	case m.Type == Text && !utf8.Valid(m.Body):
		return fault.New(fault.Invalid, codeMessage, "a message of content type text must be UTF-8")
	case m.Type == JSON && !json.Valid(m.Body):
		return fault.New(fault.Invalid, codeMessage, "a message of content type json must be JSON")
	case m.Type != Text && m.Type != JSON && m.Type != Bytes && m.Type != V8:
		return fault.Newf(fault.Invalid, codeMessage, "message content type %.32q is invalid; if specified, must be one of 'text', 'json', 'bytes', or 'v8'", m.Type)
	}
	return checkDelay(m.Delay)
}

func checkDelay(seconds *int64) error {
	if seconds != nil && (*seconds < 0 || *seconds > MaxDelay) {
		return fault.Newf(fault.Invalid, codeMessage, "message delay %d is invalid; it must be from 0 to %d seconds", *seconds, MaxDelay)
	}
	return nil
}

// Metrics are what a queue holds.
type Metrics struct {
	Count, Bytes int64
	Oldest       time.Time // when its oldest message was sent; zero: there is none
}

// Send stores messages in the account's queue of that name. delay goes before the queue's own, and a message's own before it.
func (s *Store) Send(ctx context.Context, account atoll.AccountID, name Name, delay *int64, list []Outgoing) (Metrics, error) {
	q, err := s.named(account, name)
	if err == nil {
		err = s.send(ctx, q, delay, list)
	}
	if err != nil {
		return Metrics{}, fmt.Errorf("send to queue %s: %w", name, err)
	}
	return s.metrics(ctx, q)
}

func (s *Store) send(ctx context.Context, q *queue, delay *int64, list []Outgoing) error {
	more, err := checkBatch(list)
	if err != nil {
		return err
	}
	if err := checkDelay(delay); err != nil {
		return err
	}
	if err := s.reserve(q, more); err != nil {
		return err
	}
	standard := q.show().Settings.Delay
	if delay != nil {
		standard = *delay
	}
	err = s.db.WriteFor(ctx, q.num, func(ctx context.Context, tx sqlite.Session) error {
		if _, err := sqlite.One(ctx, tx, sqlite.Value[int], `SELECT 1 FROM queues WHERE num = ?`, q.num); sqlite.Missing(err) {
			return errNotFound()
		} else if err != nil {
			return err
		}
		sent := now().UnixMilli()
		for _, m := range list {
			due := sent + standard*1000
			if m.Delay != nil {
				due = sent + *m.Delay*1000
			}
			_, err := sqlite.Run(ctx, tx, `INSERT INTO messages (seq, queue, due, stored, size, id, sent, type, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?4, ?7, ?8)`,
				s.seq.Add(1), q.num, due, sent, len(m.Body), atoll.NewID(), m.Type, m.Body)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		q.charge(more.minus())
		return err
	}
	q.poke()
	return nil
}

// checkLargest refuses a batch for its largest message, in other words than those for a single one.
func checkLargest(list []Outgoing) error {
	if len(list) > MaxBatch {
		return nil // which is told of first
	}
	largest := 0
	for _, m := range list {
		largest = max(largest, len(m.Body))
	}
	if largest > MaxMessage {
		return fault.Newf(fault.TooLarge, codeMessage, "message in batch has length %d bytes which exceeds single message size limit of %d", largest, MaxMessage)
	}
	return nil
}

func checkBatch(list []Outgoing) (more held, err error) {
	if len(list) == 0 {
		return more, fault.New(fault.Invalid, codeMessage, "a batch must have at least one message")
	}
	if len(list) > MaxBatch {
		return more, fault.Newf(fault.TooLarge, codeMessage, "batch message count of %d exceeds limit of %d", len(list), MaxBatch)
	}
	for i := range list {
		if list[i].Body == nil {
			list[i].Body = []byte{} // NULL is no body
		}
		if err := list[i].check(); err != nil {
			return more, err
		}
		more.bytes += int64(len(list[i].Body))
	}
	if more.bytes > maxBatchBytes {
		return more, fault.Newf(fault.TooLarge, codeMessage, "batch size of %d bytes exceeds limit of %d", more.bytes, maxBatchBytes)
	}
	more.count = int64(len(list))
	return more, nil
}

// reserve charges the queue with messages about to be stored, where it and its account have room.
func (s *Store) reserve(q *queue, more held) error {
	q.charge(more)
	if over(held{q.count.Load(), q.bytes.Load()}.footprint(), s.opts.QueueBytes) || over(q.owner.Load(), s.opts.AccountBytes) {
		q.charge(more.minus())
		return fault.New(fault.Full, codeFull, "Storage Limit Exceeded")
	}
	return nil
}

func over(n, bound int64) bool { return bound > 0 && n > bound }

// oldest is when the oldest message of a queue was stored, as it was found some time ago.
type oldest struct{ stored, found int64 }

// oldestFor is how long in milliseconds it is not looked for again.
const oldestFor = 1000

// metrics are the queue's; of the oldest message they may be a second late.
func (s *Store) metrics(ctx context.Context, q *queue) (Metrics, error) {
	m := Metrics{Count: max(q.count.Load(), 0), Bytes: max(q.bytes.Load(), 0)}
	if m.Count == 0 {
		return m, nil
	}
	q.mu.Lock()
	last := q.oldest
	q.mu.Unlock()
	at := now().UnixMilli()
	if last.stored == 0 || at-last.found >= oldestFor {
		stored, err := sqlite.One(ctx, s.db.Reads(), sqlite.Value[int64],
			`SELECT stored FROM messages WHERE queue = ? ORDER BY stored LIMIT 1`, q.num)
		if sqlite.Missing(err) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		last = oldest{stored, at}
		q.mu.Lock()
		q.oldest = last
		q.mu.Unlock()
	}
	m.Oldest = fromMillis(last.stored)
	return m, nil
}

// Metrics returns what a queue of the account holds.
func (s *Store) Metrics(ctx context.Context, account atoll.AccountID, id ID) (Metrics, error) {
	q, err := s.owned(account, id)
	if err != nil {
		return Metrics{}, err
	}
	return s.metrics(ctx, q)
}
