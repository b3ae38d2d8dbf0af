package node

import (
	"context"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/isolate"
)

// The times between two looks at what Durable Objects store; the shorter one where an account is near its limit.
const (
	measureEvery = time.Second
	measureSoon  = 50 * time.Millisecond
)

// measureObjects holds accounts to what their Durable Objects may store, until ctx is done: once it is used up, no object of
// the account can grow until some have been deleted as a whole, and at twice the limit none can write at all.
func (n *node) measureObjects(ctx context.Context) error {
	limit := n.cfg.Limits.DurableStorage
	if limit == 0 {
		return nil
	}
	rooms := map[*isolate.Process]isolate.Room{}
	known := map[string]int64{} // the usage of classes whose process does not run
	for {
		wait := measureEvery
		used, err := n.objectUsage(ctx, known)
		if err != nil && ctx.Err() == nil {
			n.lg.Error("cannot measure storage of Durable Objects", "err", err)
		}
		now := map[*isolate.Process]isolate.Room{}
		for _, p := range n.calls.ObjectProcesses() {
			account := p.Spec.Ref.Account
			if used[account] > limit-limit/4 {
				wait = measureSoon
			}
			switch {
			case used[account] >= 2*limit:
				now[p] = isolate.None
			case used[account] >= limit:
				now[p] = isolate.Scant
			}
			if err == nil && now[p] != rooms[p] {
				n.lg.Info("storage of Durable Objects", "account", account, "script", p.Spec.Ref.String(), "used", used[account], "full", now[p] != isolate.Plenty)
				if err := p.SetRoom(now[p]); err != nil {
					p.End(err) // it is gone already, or may not go on
				}
			}
		}
		rooms = now
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// objectUsage is what the Durable Objects of each account store.
func (n *node) objectUsage(ctx context.Context, known map[string]int64) (map[atoll.AccountID]int64, error) {
	classes, err := n.store.AllClasses(ctx)
	if err != nil {
		return nil, err
	}
	running := map[string]bool{}
	for _, p := range n.calls.ObjectProcesses() {
		for _, c := range p.Spec.Classes {
			running[c.ID] = true
		}
	}
	used := map[atoll.AccountID]int64{}
	for _, c := range classes {
		bytes, measured := known[c.ID]
		if !measured || running[c.ID] {
			if bytes, err = n.objects.Usage(c.ID); err != nil {
				return nil, err
			}
			known[c.ID] = bytes
		}
		used[c.Script.Account] += bytes
	}
	return used, nil
}
