package binding

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/isolate"
)

// How many requests to KV that hold much of the node's memory a process may have under way; more of its own wait for them.
// A value that never comes to its end holds a megabyte of it, and the answer to a bulk get up to fifty.
const (
	maxPuts     = 48
	maxBulkGets = 2
	// smallPut is how long a value may be that needs no turn.
	smallPut = 16 << 10
)

// takeTurn waits until the process may have one more such request, where r is one.
func takeTurn(r *http.Request, p *isolate.Process) (done func(), err error) {
	var turns any
	switch {
	case r.Method == http.MethodPut && (r.ContentLength < 0 || r.ContentLength > smallPut):
		turns, _ = p.Bound.LoadOrStore("kv puts", make(chan struct{}, maxPuts))
	case r.Method == http.MethodPost:
		turns, _ = p.Bound.LoadOrStore("kv bulk gets", make(chan struct{}, maxBulkGets))
	default:
		return func() {}, nil
	}
	c := turns.(chan struct{})
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
}
