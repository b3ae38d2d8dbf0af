package objects

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"atoll.dev/atoll/internal/fault"
)

// Clock has processes started when alarms of their objects are due. While a process runs, the engine does that itself: so a
// class is looked at when the node starts and whenever the process that used it has ended.
type Clock struct {
	lg    *slog.Logger
	store *Store
	wake  func(ctx context.Context, class string) error
	again time.Duration // after which a failure is tried again

	looks chan struct{} // there is something to look at
	found chan found

	mu    sync.Mutex
	ended map[string]bool // classes to be looked at
}

// NewClock returns a Clock that has the process of a class's objects started by wake, which does nothing where it runs, and
// returns a fault of kind NotFound where there is no such class any more.
func NewClock(lg *slog.Logger, store *Store, wake func(ctx context.Context, class string) error) *Clock {
	return &Clock{lg: lg, store: store, wake: wake, again: 5 * time.Second, looks: make(chan struct{}, 1), found: make(chan found), ended: map[string]bool{}}
}

// Ended says that a process which used the classes has ended.
func (c *Clock) Ended(classes ...string) {
	c.mu.Lock()
	for _, class := range classes {
		c.ended[class] = true
	}
	c.mu.Unlock()
	select {
	case c.looks <- struct{}{}:
	default:
	}
}

// Run wakes whoever is due until ctx is done.
func (c *Clock) Run(ctx context.Context) error {
	if err := c.store.clean(); err != nil {
		return err
	}
	classes, err := c.store.classes()
	if err != nil {
		return err
	}
	c.Ended(classes...)
	next := map[string]time.Time{} // when a class's first alarm is due
	reading := map[string]bool{}   // classes that are being looked at; true: their process has ended once more
	var group, reads errgroup.Group
	defer reads.Wait()
	defer group.Wait()
	group.SetLimit(wakers)
	for {
		c.look(ctx, &reads, next, reading)
		timer := time.NewTimer(c.ring(ctx, &group, next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.looks:
		case f := <-c.found:
			again := reading[f.class]
			delete(reading, f.class)
			switch {
			case again:
				c.Ended(f.class)
			case f.ok:
				next[f.class] = f.at
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

// found is what a look at a class has found.
type found struct {
	class string
	at    time.Time
	ok    bool // there is an alarm
}

// look has the alarms of the classes read whose processes have ended. None waits for another's, which may be large.
func (c *Clock) look(ctx context.Context, reads *errgroup.Group, next map[string]time.Time, reading map[string]bool) {
	c.mu.Lock()
	ended := c.ended
	c.ended = map[string]bool{}
	c.mu.Unlock()
	for class := range ended {
		delete(next, class)
		if _, busy := reading[class]; busy {
			reading[class] = true
			continue
		}
		reading[class] = false
		reads.Go(func() error {
			at, ok, err := c.store.NextAlarm(ctx, class)
			if err != nil && ctx.Err() == nil {
				c.lg.Warn("alarms of Durable Objects cannot be read: their process is started for it", "class", class, "err", err)
				at, ok = time.Now(), true
			}
			select {
			case c.found <- found{class, at, ok}:
			case <-ctx.Done():
			}
			return nil
		})
	}
}

// wakers is how many processes are started at once.
const wakers = 8

// ring wakes those that are due, and returns how long it is until the next one.
func (c *Clock) ring(ctx context.Context, group *errgroup.Group, next map[string]time.Time) time.Duration {
	wait := time.Hour
	for class, at := range next {
		if left := time.Until(at); left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(next, class)
		group.Go(func() error {
			err := c.wake(ctx, class)
			if err != nil && fault.KindOf(err) != fault.NotFound && ctx.Err() == nil {
				c.lg.Warn("no process for the alarms of Durable Objects", "class", class, "err", err)
				time.AfterFunc(c.again, func() { c.Ended(class) })
			}
			return nil
		})
	}
	return wait
}
