package queue

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"atoll.dev/atoll/internal/sqlite"
)

// pump delivers the messages of one queue to its consumer Worker. It keeps a window of the messages that are due next, and
// holds those that are being delivered; all else is on disk.
type pump struct {
	s *Store
	q *queue

	due     []entry       // the window, in the order of delivery
	more    bool          // there may be messages due behind the window
	next    time.Time     // when the first message that is not due yet is; zero: there is none
	rest    time.Duration // how long deliveries that could not be made are given up for
	restEnd time.Time

	running sync.WaitGroup // deliveries

	mu     sync.Mutex
	held   map[int64]bool // seqs of messages that are being delivered
	active int64          // deliveries under way
	bytes  int64          // of their bodies
	failed bool           // one could not be made
}

// entry is a message in the window.
type entry struct{ seq, due, size int64 }

const (
	// window is how many messages are looked up at once.
	window = 512
	// maxDelivery is how many bytes of bodies a batch has, its first message aside, and maxUnderWay how many all batches of a
	// queue that are being delivered have: what the node and the consumer hold in memory.
	maxDelivery = 4 << 20
	maxUnderWay = 16 << 20
)

// How long a queue rests whose consumer could not be called: more and more.
const (
	minRest = 100 * time.Millisecond
	maxRest = 30 * time.Second
)

func (p *pump) run(ctx context.Context) {
	defer p.running.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.q.wake:
		case <-timer.C:
		}
		wait, err := p.step(ctx)
		if err != nil && ctx.Err() == nil {
			p.s.lg.Error("cannot deliver messages", "queue", p.q.id, "err", err)
			p.mu.Lock()
			p.failed = true
			p.mu.Unlock()
			wait = p.backOff(now())
		}
		if wait < 0 { // the queue is gone
			return
		}
		timer.Reset(wait)
	}
}

// never is how long a pump sleeps that nothing but a poke can give work.
const never = 24 * time.Hour

// step starts the deliveries that are due, and returns when to look again.
func (p *pump) step(ctx context.Context) (time.Duration, error) {
	x := p.q.show()
	p.q.mu.Lock()
	gone := p.q.gone
	p.q.mu.Unlock()
	switch {
	case gone:
		return -1, nil
	case x.Consumer == nil || x.Consumer.Type != Worker || x.Settings.Paused:
		p.due, p.more = nil, true
		return never, nil
	}
	at := now()
	for p.free(x.Consumer) {
		if wait := p.backOff(at); wait > 0 { // perhaps by a delivery that this very call has started
			return wait, nil
		}
		if err := p.look(ctx, x.Consumer.Batch, x.Settings.Retention, at); err != nil {
			return 0, err
		}
		if len(p.due) == 0 {
			return p.untilNext(at), nil
		}
		first := time.UnixMilli(p.due[0].due)
		if wait := first.Add(x.Consumer.Wait).Sub(at); int64(len(p.due)) < x.Consumer.Batch && wait > 0 {
			return min(wait, p.untilNext(at)), nil
		}
		p.start(ctx, x)
	}
	return never, nil // until a delivery ends
}

// backOff returns how long deliveries are still given up for, after one that could not be made.
func (p *pump) backOff(at time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed {
		p.failed = false
		if !p.restEnd.After(at) {
			p.rest = min(max(2*p.rest, minRest), maxRest)
			p.restEnd = at.Add(p.rest)
		}
	}
	return p.restEnd.Sub(at)
}

// free tells whether one more batch may be delivered beside those under way.
func (p *pump) free(c *Consumer) bool {
	limit := c.Concurrency
	if limit == 0 {
		limit = AutoConcurrency
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.active < limit && p.bytes < maxUnderWay
}

func (p *pump) untilNext(at time.Time) time.Duration {
	if p.next.IsZero() {
		return never
	}
	return max(p.next.Sub(at), 0)
}

// look fills the window where it has no full batch and there may be more on disk.
func (p *pump) look(ctx context.Context, batch, retention int64, at time.Time) error {
	if int64(len(p.due)) >= batch {
		return nil
	}
	timely := !p.next.IsZero() && !p.next.After(at)
	if fresh := p.q.fresh.Swap(false); !fresh && !timely && !p.more {
		return nil
	}
	p.mu.Lock()
	// What is settled meanwhile may be found as it was before, and its end looks again.
	held := maps.Clone(p.held)
	p.mu.Unlock()
	limit := len(held) + window
	found, err := sqlite.All(ctx, p.s.db.Reads(), scanEntry,
		`SELECT seq, due, size FROM messages WHERE queue = ? AND due <= ? AND stored > ? ORDER BY due, seq LIMIT ?`,
		p.q.num, at.UnixMilli(), at.UnixMilli()-retention*1000, limit)
	if err != nil {
		p.q.fresh.Store(true)
		return fmt.Errorf("look for messages: %w", err)
	}
	p.more = len(found) == limit
	p.due = p.due[:0]
	for _, e := range found {
		if !held[e.seq] {
			p.due = append(p.due, e)
		}
	}
	next, err := sqlite.One(ctx, p.s.db.Reads(), sqlite.Value[int64],
		`SELECT due FROM messages WHERE queue = ? AND due > ? ORDER BY due LIMIT 1`, p.q.num, at.UnixMilli())
	p.next = time.Time{}
	if err == nil {
		p.next = time.UnixMilli(next)
	} else if !sqlite.Missing(err) {
		p.q.fresh.Store(true)
		return fmt.Errorf("look for messages: %w", err)
	}
	return nil
}

func scanEntry(row sqlite.Row) (e entry, err error) {
	err = row.Scan(&e.seq, &e.due, &e.size)
	return e, err
}

// start takes a batch off the window and delivers it.
func (p *pump) start(ctx context.Context, x Queue) {
	n, size := 0, int64(0)
	for n < len(p.due) && int64(n) < x.Consumer.Batch && (n == 0 || size+p.due[n].size <= maxDelivery) {
		size += p.due[n].size
		n++
	}
	batch := make([]int64, n)
	p.mu.Lock()
	for i, e := range p.due[:n] {
		batch[i] = e.seq
		p.held[e.seq] = true
	}
	p.active++
	p.bytes += size
	p.mu.Unlock()
	p.due = p.due[n:]
	p.running.Go(func() {
		err := p.deliver(ctx, x, batch)
		if err != nil && ctx.Err() == nil {
			p.s.lg.Warn("cannot deliver a batch", "queue", p.q.id, "consumer", x.Consumer.Script.String(), "err", err)
		}
		p.mu.Lock()
		for _, seq := range batch {
			delete(p.held, seq)
		}
		p.active--
		p.bytes -= size
		if p.failed = p.failed || err != nil; err == nil {
			p.rest = 0
		}
		p.mu.Unlock()
		p.q.poke()
	})
}

// deliver hands messages to the consumer and settles them. After an error they are due as they were.
func (p *pump) deliver(ctx context.Context, x Queue, seqs []int64) error {
	messages, err := sqlite.All(ctx, p.s.db.Reads(), scanMessage, `SELECT seq, id, sent, attempts, type, body FROM messages
		WHERE seq IN (SELECT value FROM json_each(?1)) AND queue = ?2 AND stored > ?3 ORDER BY due, seq`,
		array(seqs), p.q.num, now().UnixMilli()-x.Settings.Retention*1000)
	if err != nil {
		return fmt.Errorf("read messages: %w", err)
	}
	if len(messages) == 0 {
		return nil // they have been purged
	}
	b := &Batch{Queue: x.Name, Messages: messages}
	if b.Metrics, err = p.s.metrics(ctx, p.q); err != nil {
		return err
	}
	b.Metrics.Count -= int64(len(messages))
	for _, m := range messages {
		b.Metrics.Bytes -= int64(len(m.Body))
	}
	outcome, err := p.s.opts.Deliver(ctx, x.Consumer.Script, b)
	if err != nil {
		return err
	}
	// What the consumer said is to be kept, though the node is told to stop.
	return p.s.settle(context.WithoutCancel(ctx), p.q, x.Consumer, outcome.judge(x.Consumer, messages))
}

func scanMessage(row sqlite.Row) (m Message, err error) {
	var sent int64
	err = row.Scan(&m.seq, &m.ID, &sent, &m.Attempts, &m.Type, &m.Body)
	m.Sent = fromMillis(sent)
	m.Attempts++
	return m, err
}
