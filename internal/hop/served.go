package hop

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// served is one connection. Its goroutine reads and answers one request after the other.
type served struct {
	net.Conn
	front    *Front
	ctx      context.Context
	remote   string
	template *http.Request

	buf      []byte // between requests nil while nothing has been read
	from, to int    // what of it has been read and not been used

	since atomic.Int64 // when the request began, or the connection fell idle

	mu      sync.Mutex
	busy    bool
	asked   bool               // it has had a request
	whole   bool               // the request's body has been read
	cancel  context.CancelFunc // of the request
	watcher chan struct{}      // closed when the goroutine that waits for the client's going has ended; nil: none runs
}

// headBuffers have the size of the largest head that is read here.
var headBuffers = sync.Pool{New: func() any { b := make([]byte, 8<<10); return &b }}

func (s *served) serve() {
	bp := headBuffers.Get().(*[]byte)
	s.buf = *bp
	keep := true // the connection is ours to close
	defer func() {
		s.buf = nil
		headBuffers.Put(bp)
		if keep {
			s.front.drop(s)
			s.Conn.Close()
		}
	}()
	for {
		if s.from == s.to {
			s.from = 0
			n, err := s.Conn.Read(s.buf)
			s.to = n
			if err != nil {
				return
			}
		}
		h, v := parseRequest(s.buf[s.from:s.to])
		var r *http.Request
		if v == plain {
			r = s.request(&h)
		}
		if r == nil {
			keep = false
			s.front.give(s)
			return
		}
		s.from += h.size
		again, mine := s.answer(r, &h)
		if !mine { // hijacked
			keep = false
			s.front.drop(s)
			return
		}
		if !again {
			return
		}
	}
}

// request makes an http.Request of a head, or nil where net/http is to say what is wrong with it.
func (s *served) request(h *head) *http.Request {
	u, err := url.ParseRequestURI(h.target)
	if err != nil {
		return nil
	}
	r := s.template
	r.Method, r.RequestURI, r.URL, r.Host, r.Header = h.method, h.target, u, h.host, h.header
	r.ContentLength, r.Close, r.Body = max(h.length, 0), h.close, http.NoBody
	return r
}

// answer serves one request and tells whether another may follow, and whether the connection is still ours.
func (s *served) answer(r *http.Request, h *head) (again, mine bool) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	r = r.WithContext(ctx)
	var in *incoming
	if r.ContentLength > 0 {
		in = &incoming{conn: s, left: r.ContentLength}
		r.Body = in
	}
	s.mu.Lock()
	s.busy, s.asked, s.whole, s.cancel = true, true, in == nil, cancel
	s.mu.Unlock()
	s.since.Store(time.Now().UnixNano())
	w := newReply(s, r, cancel)
	defer w.free()
	if !s.run(w, r) {
		w.broken = true
	}
	if w.hijacked {
		return false, false
	}
	s.unwatch()
	whole := in == nil || in.finish()
	if w.broken || !w.finish(whole && !r.Close && !s.front.isClosing()) {
		return false, true
	}
	if w.last {
		s.linger(whole)
		return false, true
	}
	if w.deadlines {
		s.Conn.SetDeadline(time.Time{})
	}
	s.since.Store(time.Now().UnixNano())
	s.mu.Lock()
	s.busy, s.cancel = false, nil
	s.mu.Unlock()
	return !s.front.isClosing(), true
}

// run calls the handler and tells whether it has returned.
func (s *served) run(w *reply, r *http.Request) (returned bool) {
	defer func() {
		if returned {
			return
		}
		if e := recover(); e != nil && e != http.ErrAbortHandler {
			s.logf("panic serving %s: %v\n%s", s.remote, e, debug.Stack())
		}
	}()
	s.front.server.Handler.ServeHTTP(w, r)
	return true
}

func (s *served) logf(format string, args ...any) {
	if l := s.front.server.ErrorLog; l != nil {
		l.Printf(format, args...)
	}
}

// linger lets the client read the answer: closing with something unread would take it away.
func (s *served) linger(whole bool) {
	if whole && s.from == s.to {
		return
	}
	if cw, ok := s.Conn.(interface{ CloseWrite() error }); ok && cw.CloseWrite() == nil {
		s.Conn.SetReadDeadline(time.Now().Add(lingerFor))
		io.CopyN(io.Discard, s.Conn, lingerBytes)
	}
}

// check is called now and then: it ends what has been idle for too long, and has requests watched that take their time.
func (s *served) check(now time.Time) {
	age := now.Sub(time.Unix(0, s.since.Load()))
	if age < watchAfter {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy {
		if s.whole && s.watcher == nil && s.cancel != nil {
			s.watcher = make(chan struct{})
			go s.watch(s.watcher, s.cancel)
		}
		return
	}
	most := s.front.server.IdleTimeout
	if !s.asked {
		most = s.front.server.ReadHeaderTimeout
	}
	if most > 0 && age > most {
		s.Conn.Close()
	}
}

// watch cancels the request when the client goes away. It ends when more comes from it, or at a read deadline.
func (s *served) watch(done chan struct{}, cancel context.CancelFunc) {
	defer close(done)
	if gone, err := peek(s.Conn); gone && err == nil {
		cancel()
	}
}

// unwatch ends the watch of a request that has been answered, or whose connection is taken over.
func (s *served) unwatch() {
	s.mu.Lock()
	s.cancel = nil // no watch begins any more
	done := s.watcher
	s.watcher = nil
	s.mu.Unlock()
	if done == nil {
		return
	}
	s.Conn.SetReadDeadline(time.Unix(1, 0))
	<-done
	s.Conn.SetReadDeadline(time.Time{})
}

// incoming is a request's body.
type incoming struct {
	conn *served

	mu   sync.Mutex
	left int64
	done bool // nobody reads it any more
}

// Read implements io.Reader.
func (b *incoming) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.done:
		return 0, http.ErrBodyReadAfterClose
	case b.left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), b.left)]
	s := b.conn
	var n int
	var err error
	if s.from < s.to {
		n = copy(p, s.buf[s.from:s.to])
		s.from += n
	} else {
		n, err = s.Conn.Read(p)
	}
	b.left -= int64(n)
	if b.left == 0 {
		s.mu.Lock()
		s.whole = true
		s.mu.Unlock()
		return n, io.EOF
	}
	if err == io.EOF {
		err = fmt.Errorf("read body: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}

// Close implements io.Closer.
func (b *incoming) Close() error { return nil }

// finish ends the body and tells whether the next request follows what has been read.
func (b *incoming) finish() bool {
	if !b.mu.TryLock() {
		b.conn.Conn.SetReadDeadline(time.Unix(1, 0)) // somebody waits for more of it
		b.mu.Lock()
		b.conn.Conn.SetReadDeadline(time.Time{})
	}
	defer b.mu.Unlock()
	b.done = true
	if s := b.conn; b.left > 0 && b.left <= int64(s.to-s.from) {
		s.from += int(b.left)
		b.left = 0
	}
	return b.left == 0
}
