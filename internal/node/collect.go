package node

import (
	"context"
	"errors"
	"time"

	"atoll.dev/atoll/internal/assets"
)

// collectEvery is how often content that nothing refers to any more is looked for; the first time comes sooner.
const (
	collectEvery = time.Hour
	collectFirst = 5 * time.Minute
)

// collect deletes, now and then until ctx is done, the content that no version refers to and that no upload in progress
// can count on.
func (n *node) collect(ctx context.Context) error {
	timer := time.NewTimer(collectFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-timer.C:
			n.collectOnce(ctx, now.Add(-assets.Grace))
			timer.Reset(collectEvery)
		}
	}
}

// collectOnce deletes what was not used since the given time. It is logged where it fails, and tried again the next time.
func (n *node) collectOnce(ctx context.Context, since time.Time) {
	deleted, err := n.store.CollectBlobs(ctx, n.blobs.Unused(since), since, func(hash string) (bool, error) { return n.blobs.DeleteUnused(hash, since) })
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		n.lg.Error("cannot collect unused content", "err", err)
	case deleted > 0:
		n.lg.Info("unused content deleted", "blobs", deleted)
	}
}

// sweep deletes the storage of Durable Objects whose class or script is gone: at the start, and whenever one may have been
// deleted, until ctx is done. What fails is logged and tried again the next time.
func (n *node) sweep(ctx context.Context) error {
	for {
		var again <-chan time.Time
		busy, err := n.objects.Sweep(func() (func(string) bool, error) { return n.classes(ctx) })
		switch {
		case errors.Is(err, context.Canceled):
		case err != nil:
			n.lg.Error("cannot delete unused storage of Durable Objects", "err", err)
		case busy: // the process that uses it is about to end
			again = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-n.deleted:
		case <-again:
		}
	}
}

// classes returns whether there is a class of an id.
func (n *node) classes(ctx context.Context) (func(string) bool, error) {
	classes, err := n.store.AllClasses(ctx)
	known := make(map[string]bool, len(classes))
	for _, c := range classes {
		known[c.ID] = true
	}
	return func(id string) bool { return known[id] }, err
}

// mayBeDeleted has sweep look for storage that is not needed any more.
func (n *node) mayBeDeleted() {
	select {
	case n.deleted <- struct{}{}:
	default: // it is about to look
	}
}
