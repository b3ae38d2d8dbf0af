package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
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

// ReadFrom lets net/http send files by sendfile(2). A client that reads something in the time of one write gets another,
// however much the kernel was asked to send.
func (g *guard) ReadFrom(r io.Reader) (n int64, err error) {
	file, ok := r.(*io.LimitedReader)
	to, can := g.ResponseWriter.(io.ReaderFrom)
	if !ok || !can {
		return io.Copy(struct{ io.Writer }{g}, r)
	}
	// With the head gone, net/http does not copy the first bytes by itself, and the kernel begins at a page's start.
	if err := g.c.Flush(); err != nil {
		return 0, err
	}
	for file.N > 0 {
		if err := g.extend(); err != nil {
			return n, err
		}
		k, err := to.ReadFrom(file)
		n += k
		if err != nil && (k == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return n, err
		}
		if err == nil {
			break
		}
		g.until = time.Time{} // the deadline has passed
	}
	return n, nil
}
