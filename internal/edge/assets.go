package edge

import (
	"context"
	"io"
	"net/http"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
)

// Static answers from a script's assets: see dispatch.Dispatcher.Static.
type Static func(context.Context, atoll.ScriptRef, *assets.Request, http.Header) (*assets.Answer, dispatch.Asked, error)

// static answers a request from the script's assets, if these are to answer it: without the headers, buffers and copies
// that a call of a Worker needs.
func (e *Edge) static(w *guard, r *http.Request, script atoll.ScriptRef) (asked dispatch.Asked, done bool, err error) {
	if e.opts.Static == nil {
		return asked, false, nil
	}
	req := assets.Request{Method: r.Method, Target: escapeTarget(hop.Target(r)), Scheme: "http", Host: r.Host, Header: r.Header, Codings: assets.All}
	a, asked, err := e.opts.Static(r.Context(), script, &req, w.Header())
	if a == nil || err != nil {
		return asked, false, err
	}
	if most := e.opts.MaxResponse; most > 0 && a.Size > most {
		a.Close()
		for name := range w.Header() {
			if name != "Cf-Ray" && name != "Server" {
				w.Header().Del(name)
			}
		}
		return asked, false, errLongResponse
	}
	if err := w.extend(); err != nil {
		a.Close()
		return asked, true, nil // the connection is gone
	}
	if err := a.Send(w); err != nil {
		panic(http.ErrAbortHandler) // the client has gone, or must see that the body broke off
	}
	return asked, true, nil
}

// extend gives the next write its time.
func (g *guard) extend() error {
	// Half the time may pass before the deadline is moved: a timer a write would cost more than the write.
	if now := time.Now(); g.until.Sub(now) < g.stall/2 {
		g.until = now.Add(g.stall)
		return g.c.SetWriteDeadline(g.until)
	}
	return nil
}

// sendChunk is how much a client must read within the time of one write.
const sendChunk = 1 << 20

// ReadFrom lets net/http send files by sendfile(2), in chunks that each get a new deadline.
func (g *guard) ReadFrom(r io.Reader) (n int64, err error) {
	to, ok := g.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{g}, r)
	}
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: 1 << 62}
	}
	for limited.N > 0 {
		if err := g.extend(); err != nil {
			return n, err
		}
		chunk := io.LimitedReader{R: limited.R, N: min(limited.N, sendChunk)}
		k, err := to.ReadFrom(&chunk)
		n += k
		limited.N -= k
		if err != nil || chunk.N > 0 {
			return n, err
		}
	}
	return n, nil
}
