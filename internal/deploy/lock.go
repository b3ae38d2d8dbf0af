package deploy

import (
	"context"
	"sync"

	"atoll.dev/atoll/internal/atoll"
)

// locks are the scripts being changed, each held by one call. The zero value is ready.
type locks struct {
	mu   sync.Mutex
	held map[atoll.ScriptRef]*lock
}

// lock is a turn that calls wait for; channels of capacity one hand it on in the order of arrival.
type lock struct {
	turn  chan struct{}
	users int // holder and waiters
}

// acquire waits for the script's turn and returns what ends it.
func (l *locks) acquire(ctx context.Context, ref atoll.ScriptRef) (release func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[atoll.ScriptRef]*lock{}
	}
	k := l.held[ref]
	if k == nil {
		k = &lock{turn: make(chan struct{}, 1)}
		l.held[ref] = k
	}
	k.users++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.users--; k.users == 0 {
			delete(l.held, ref)
		}
	}
	select {
	case k.turn <- struct{}{}:
		return func() { <-k.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
