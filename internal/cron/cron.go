// Package cron fires the cron triggers of scripts: it calls each at the minutes that its expression names, in UTC.
//
// It keeps no record of runs: a trigger whose minute passed while the node was down is not made up for, as at Cloudflare,
// and one that fails is logged and fires again at its next minute. A trigger that still runs when its next minute comes is
// called again beside it.
//
// A Clock may be told of changes from any goroutine.
package cron

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Trigger is one cron expression of one script.
type Trigger struct {
	Script atoll.ScriptRef
	Expr   Expr
}

// Fire runs a script's scheduled handler for the given minute.
type Fire func(ctx context.Context, t Trigger, minute time.Time) error

// Clock fires triggers.
type Clock struct {
	lg      *slog.Logger
	fire    Fire
	changed chan struct{}

	mu       sync.Mutex
	triggers []Trigger
}

// New returns a Clock without triggers.
func New(lg *slog.Logger, fire Fire) *Clock {
	return &Clock{lg: lg, fire: fire, changed: make(chan struct{}, 1)}
}

// Set replaces the triggers.
func (c *Clock) Set(list []Trigger) {
	c.mu.Lock()
	c.triggers = list
	c.mu.Unlock()
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// Run fires triggers until ctx is done, and returns when the handlers it called have returned.
func (c *Clock) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	last := time.Now()
	for {
		due, at := c.due(last)
		// Never later than the next minute, so that a clock that was set is noticed.
		timer := time.NewTimer(min(time.Until(at), time.Minute))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-c.changed:
			timer.Stop()
		case now := <-timer.C:
			if len(due) == 0 || now.Before(at) {
				continue
			}
			last = at
			for _, t := range due {
				running.Go(func() {
					if err := c.fire(ctx, t, at); err != nil {
						c.lg.Warn("cron trigger failed", "script", t.Script.String(), "cron", t.Expr.String(), "err", err)
					}
				})
			}
		}
	}
}

// due returns the triggers that fire next after t, and when.
func (c *Clock) due(t time.Time) (list []Trigger, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at = t.Add(24 * time.Hour)
	for _, tr := range c.triggers {
		next, err := tr.Expr.next(t)
		switch {
		case err != nil || next.After(at):
		case next.Before(at):
			list, at = []Trigger{tr}, next
		default:
			list = append(list, tr)
		}
	}
	return list, at
}
