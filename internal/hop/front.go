package hop

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Front stands before an http.Server: it answers plain requests of HTTP/1.1 itself, in a third of the time, and gives the
// connection with all others, untouched, to the server. It refuses nothing, so what is refused, and why, is net/http's to
// say: a head that is malformed, too large, slow or in parts, a body in chunks, an upgrade, CONNECT, HTTP/2 and whatever
// else [parseRequest] does not find plain. The handler is the server's, and is served alike either way.
//
// A request in which nothing happens for a while is watched for its client's going away, as net/http does from the start.
type Front struct {
	server *http.Server
	rest   rest
	date   atomic.Pointer[stamp]

	mu        sync.Mutex
	listeners map[net.Listener]bool
	conns     map[*served]bool
	closing   bool
	watching  bool // the watcher runs
	wake      chan struct{}
}

// The times that the watcher goes by. It looks at all connections now and then, which costs less than a timer for each.
const (
	watchPeriod = 100 * time.Millisecond
	watchAfter  = 100 * time.Millisecond // a request that takes longer is watched
	lingerFor   = 500 * time.Millisecond // as net/http, for a client to read the answer before the connection breaks
	lingerBytes = 256 << 10
)

// NewFront returns a Front of s, whose Handler, ConnContext, ReadHeaderTimeout and IdleTimeout hold for both.
func NewFront(s *http.Server) *Front {
	f := &Front{server: s, listeners: map[net.Listener]bool{}, conns: map[*served]bool{}, wake: make(chan struct{}, 1)}
	f.rest = rest{conns: make(chan net.Conn), done: make(chan struct{})}
	if context := s.ConnContext; context != nil {
		s.ConnContext = connContext(context)
	}
	return f
}

func connContext(of func(context.Context, net.Conn) context.Context) func(context.Context, net.Conn) context.Context {
	return func(ctx context.Context, c net.Conn) context.Context {
		if r, ok := c.(*resumed); ok {
			c = r.Conn
		}
		return of(ctx, c)
	}
}

// rest is the listener of the http.Server behind a Front.
type rest struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (r *rest) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.done:
		return nil, net.ErrClosed
	}
}

func (r *rest) Close() error {
	r.once.Do(func() { close(r.done) })
	return nil
}

func (r *rest) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "front"} }

// resumed is a connection of which something has been read.
type resumed struct {
	net.Conn
	ahead []byte
}

func (c *resumed) Read(p []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// ReadFrom implements io.ReaderFrom.
func (c *resumed) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// CloseWrite ends what is sent, where that can be done alone.
func (c *resumed) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return nil
}

// Serve accepts connections until the listener ends, and returns http.ErrServerClosed after Shutdown or Close.
func (f *Front) Serve(l net.Listener) error {
	defer l.Close()
	f.mu.Lock()
	if f.closing {
		f.mu.Unlock()
		return http.ErrServerClosed
	}
	f.listeners[l] = true
	if !f.watching {
		f.watching = true
		go f.server.Serve(&f.rest) // ends with Shutdown and Close
		go f.watch()
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.listeners, l)
	}()
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err != nil {
			f.mu.Lock()
			closing := f.closing
			f.mu.Unlock()
			if closing {
				return http.ErrServerClosed
			}
			if t, ok := err.(interface{ Temporary() bool }); ok && t.Temporary() { // no descriptors left, as a rule
				pause = min(max(2*pause, 5*time.Millisecond), time.Second)
				time.Sleep(pause)
				continue
			}
			return err
		}
		pause = 0
		f.take(c)
	}
}

// take begins to serve a connection.
func (f *Front) take(c net.Conn) {
	ctx := context.WithValue(context.Background(), http.ServerContextKey, f.server)
	if f.server.ConnContext != nil {
		ctx = f.server.ConnContext(ctx, c)
	}
	s := &served{front: f, Conn: c, ctx: ctx, remote: c.RemoteAddr().String()}
	s.template = (&http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: s.remote}).WithContext(ctx)
	s.since.Store(time.Now().UnixNano())
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closing {
		c.Close()
		return
	}
	if f.conns[s] = true; len(f.conns) == 1 {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
	go s.serve()
}

func (f *Front) drop(s *served) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, s)
}

// give hands a connection to the http.Server with what has been read of it.
func (f *Front) give(s *served) {
	f.drop(s)
	select {
	case f.rest.conns <- &resumed{s.Conn, append([]byte(nil), s.buf[s.from:s.to]...)}:
	case <-f.rest.done:
		s.Conn.Close()
	}
}

// watch looks at the connections while there are some.
func (f *Front) watch() {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var list []*served
	for {
		f.mu.Lock()
		list = list[:0]
		for s := range f.conns {
			list = append(list, s)
		}
		f.mu.Unlock()
		if len(list) == 0 {
			tick.Stop()
			select {
			case <-f.wake:
			case <-f.rest.done:
				return
			}
			tick.Reset(watchPeriod)
			continue
		}
		for _, s := range list {
			s.check(time.Now())
		}
		clear(list)
		select {
		case <-tick.C:
		case <-f.rest.done:
			return
		}
	}
}

// Shutdown stops accepting, closes the connections that are idle, and waits for the others until ctx is done.
func (f *Front) Shutdown(ctx context.Context) error {
	f.stop(false)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		f.mu.Lock()
		n := len(f.conns)
		f.mu.Unlock()
		if n == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	err := f.server.Shutdown(ctx)
	f.rest.Close()
	return err
}

// Close closes everything at once.
func (f *Front) Close() error {
	f.stop(true)
	f.rest.Close()
	return f.server.Close()
}

func (f *Front) stop(busy bool) {
	f.mu.Lock()
	f.closing = true
	var list []*served
	for s := range f.conns {
		list = append(list, s)
	}
	for l := range f.listeners {
		l.Close()
	}
	f.mu.Unlock()
	for _, s := range list {
		s.mu.Lock()
		if busy || !s.busy {
			s.Conn.Close()
		}
		s.mu.Unlock()
	}
}

func (f *Front) isClosing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closing
}

// stamp is the Date header of one second.
type stamp struct {
	second int64
	text   string
}

func (f *Front) now() string {
	now := time.Now()
	s := f.date.Load()
	if s == nil || s.second != now.Unix() {
		s = &stamp{now.Unix(), now.UTC().Format(http.TimeFormat)}
		f.date.Store(s)
	}
	return s.text
}
