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
	// burst is what can be written to a fast disk between two looks.
	burst = 256 << 20
	// smallShare is which part of an account's limit a script may store before it is one of those that have used it up.
	smallShare = 100
)

// roomFor is what a script's objects may store where those of all of its account have used so much.
func roomFor(script, account, limit int64) isolate.Room {
	switch {
	case account >= 4*limit, account >= 2*limit && script > limit/smallShare:
		return isolate.None
	case account >= limit:
		return isolate.Scant
	}
	return isolate.Plenty
}

// measureObjects holds accounts to what their Durable Objects may store, until ctx is done: once it is used up, no object of
// the account can grow until some have been deleted as a whole. At twice the limit those of scripts that store much cannot
// write at all, and at four times none: an object that cannot write cannot be opened either, which is for whoever filled the
// account and not for everybody in it.
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
			if limit-used.accounts[account] < max(limit/4, burst) {
				wait = measureSoon
			}
			now[p] = roomFor(used.scripts[p.Spec.Ref], used.accounts[account], limit)
			if err == nil && now[p] != rooms[p] {
				n.lg.Info("storage of Durable Objects", "account", account, "script", p.Spec.Ref.String(), "used", used.accounts[account], "full", now[p] != isolate.Plenty)
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

// objectUsage is what Durable Objects store, in bytes.
type objectUsage struct {
	accounts map[atoll.AccountID]int64
	scripts  map[atoll.ScriptRef]int64
}

func (n *node) objectUsage(ctx context.Context, known map[string]int64) (used objectUsage, err error) {
	classes, err := n.store.AllClasses(ctx)
	if err != nil {
		return used, err
	}
	running := map[string]bool{}
	for _, p := range n.calls.ObjectProcesses() {
		for _, c := range p.Spec.Classes {
			running[c.ID] = true
		}
	}
	used = objectUsage{map[atoll.AccountID]int64{}, map[atoll.ScriptRef]int64{}}
	for _, c := range classes {
		bytes, measured := known[c.ID]
		if !measured || running[c.ID] {
			if bytes, err = n.objects.Usage(c.ID); err != nil {
				return used, err
			}
			known[c.ID] = bytes
		}
		used.accounts[c.Script.Account] += bytes
		used.scripts[c.Script] += bytes
	}
	return used, nil
}
