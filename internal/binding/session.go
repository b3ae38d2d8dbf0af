package binding

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/isolate"
)

// sessionWait is how long the two sides of a session wait for one another.
const sessionWait = 10 * time.Second

// maxSessionWaits is how many sessions a process may have come in that nobody has told the node of: a process that calls
// without telling would fill it with them.
const maxSessionWaits = 1024

var (
	errNoSession     = &dispatch.Exception{Name: "Error", Message: "The RPC session does not exist."}
	errSessionReused = errors.New("a number of an RPC session was used twice")
)

// sessionKey names a session by the process that it comes to and the number that the caller made up.
type sessionKey struct {
	process *isolate.Process
	nonce   string
}

// session is one that its caller has told of, or its callee has asked for, or both.
type session struct {
	ready chan struct{} // closed when the rest is set
	err   error         // why it is refused
	offer
}

// offer is what a callee is to know of a session.
type offer struct {
	invocation *dispatch.Session
	visit      *visit
	entrypoint string
	props      json.RawMessage
}

// sessions are where the two sides of sessions meet: the caller's word of it and the call itself go different ways.
type sessions struct {
	mu      sync.Mutex
	all     map[sessionKey]*session
	waiting map[*isolate.Process]int
}

func (ss *sessions) getLocked(key sessionKey) *session {
	if s := ss.all[key]; s != nil {
		return s
	}
	if ss.all == nil {
		ss.all, ss.waiting = map[sessionKey]*session{}, map[*isolate.Process]int{}
	}
	s := &session{ready: make(chan struct{})}
	ss.all[key] = s
	return s
}

// tell offers a session to its callee, or says why it is refused. Where the callee does not ask for it, lost is called.
func (ss *sessions) tell(key sessionKey, o offer, refusal error, lost func()) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s := ss.getLocked(key)
	select {
	case <-s.ready:
		return errSessionReused
	default:
	}
	s.offer, s.err = o, refusal
	close(s.ready)
	time.AfterFunc(sessionWait, func() {
		if ss.take(key, s) {
			lost()
		}
	})
	return nil
}

// take removes a session, and reports whether it was there: only one may have it.
func (ss *sessions) take(key sessionKey, s *session) bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.all[key] != s {
		return false
	}
	delete(ss.all, key)
	return true
}

// claim waits for what the caller of a session has told of it.
func (ss *sessions) claim(ctx context.Context, key sessionKey) (offer, error) {
	ss.mu.Lock()
	if ss.waiting[key.process] >= maxSessionWaits {
		ss.mu.Unlock()
		return offer{}, dispatch.ErrBusy
	}
	s := ss.getLocked(key)
	ss.waiting[key.process]++
	ss.mu.Unlock()
	defer ss.waited(key.process)
	wait := time.NewTimer(sessionWait)
	defer wait.Stop()
	select {
	case <-s.ready:
	case <-wait.C:
	case <-ctx.Done():
	}
	if !ss.take(key, s) {
		return offer{}, errNoSession
	}
	select {
	case <-s.ready:
		return s.offer, s.err
	default:
		return offer{}, errNoSession
	}
}

func (ss *sessions) waited(p *isolate.Process) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.waiting[p]--; ss.waiting[p] == 0 {
		delete(ss.waiting, p)
	}
}
