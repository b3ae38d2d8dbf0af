// Package hop carries HTTP/1.1 exchanges over sockets: from clients to the node, from the node to an isolate process, and
// through the node from one process to another.
//
// It has a client, a proxy between the two, and a [Front]: what a server does for plain requests, with net/http for the
// rest. Unlike net/http's its client sends the request target as raw bytes, so that "//", "%2f" and "%25" arrive as they
// were sent, and hands a 101 response's connection over. Heads and small bodies travel together, and one goroutine carries
// a request from its first byte to its answer's last.
//
// A message that is not plain is read by net/http and nobody else: no message is understood in two ways. A connection is
// reused only after both directions have ended cleanly, and the client reads nothing ahead of what its caller asks for.
// A Client and a Front are safe for concurrent use; a Response belongs to one goroutine.
package hop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"sync"
	"time"
)

// idleTimeout is how long a connection may rest before it is dropped. kj's HTTP server, which workerd uses, closes a
// connection that stayed silent for 5 s (HttpServerSettings::pipelineTimeout); ours must be the earlier.
const idleTimeout = 4 * time.Second

const maxIdle = 64

// Request is one request as it goes over the wire.
type Request struct {
	Method string
	Target string      // raw request target, such as "/a%2fb?x"
	Host   string      // the Host header
	Header http.Header // without Host, Content-Length and hop-by-hop headers; Upgrade is set by Upgrade
	Body   io.Reader   // nil: no body
	Length int64       // of Body; -1 when not known
	// Extra is written after Header: the node's own headers, in pairs of name and value.
	Extra   []string
	Upgrade bool // ask for a WebSocket
}

// Response is the answer to a Request. Its Body must be closed.
type Response struct {
	*http.Response
	conn *conn
}

// Client keeps connections to one Unix socket.
type Client struct {
	path string

	mu     sync.Mutex
	idle   []*conn // most recently used last
	closed bool
}

// NewClient returns a Client of the socket at path.
func NewClient(path string) *Client { return &Client{path: path} }

// Close closes the idle connections. Exchanges in progress are not disturbed; theirs are closed when they end.
func (c *Client) Close() error {
	c.mu.Lock()
	idle := c.idle
	c.idle, c.closed = nil, true
	c.mu.Unlock()
	for _, cn := range idle {
		cn.Close()
	}
	return nil
}

// conn is one connection with its buffers.
type conn struct {
	net.Conn
	br    *bufio.Reader
	head  int // bytes left for a head, see headGuard
	bw    *bufio.Writer
	since time.Time // idle since
}

func (c *Client) get(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	now := time.Now()
	for len(c.idle) > 0 {
		cn := c.idle[len(c.idle)-1]
		c.idle = c.idle[:len(c.idle)-1]
		if now.Sub(cn.since) < idleTimeout {
			c.mu.Unlock()
			return cn, nil
		}
		cn.Close()
	}
	c.mu.Unlock()
	return c.dial(ctx)
}

func (c *Client) dial(ctx context.Context) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", c.path)
	if err != nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	nc = NewConn(nc)
	cn := &conn{Conn: nc, bw: bufio.NewWriterSize(nc, 8<<10)}
	cn.br = bufio.NewReaderSize(&headGuard{nc, &cn.head}, 8<<10)
	return cn, nil
}

// maxHead is how many bytes a response's head may have; what is on the other side is not trusted.
const maxHead = 256 << 10

// ErrHeadTooLarge says that a response's headers are larger than the node takes.
var ErrHeadTooLarge = errors.New("the response's headers are too large")

// headGuard fails once more than left bytes have been read; a negative left is no bound.
type headGuard struct {
	net.Conn
	left *int
}

func (g *headGuard) Read(p []byte) (int, error) {
	if *g.left == 0 {
		return 0, ErrHeadTooLarge
	}
	if *g.left > 0 && len(p) > *g.left {
		p = p[:*g.left]
	}
	n, err := g.Conn.Read(p)
	if *g.left > 0 {
		*g.left -= n
	}
	return n, err
}

func (c *Client) put(cn *conn) {
	c.mu.Lock()
	if c.closed || len(c.idle) >= maxIdle || cn.br.Buffered() > 0 {
		c.mu.Unlock()
		cn.Close()
		return
	}
	cn.since = time.Now()
	c.idle = append(c.idle, cn)
	c.mu.Unlock()
}

// ErrBroken says that the connection ended before a whole response head had arrived: the process behind it died or was
// stopped.
var ErrBroken = errors.New("connection ended before a response")

// ErrRefused says that nothing listens on the socket any more; nothing has been sent.
var ErrRefused = errors.New("connection refused")

// Do sends req and returns when the response's head has arrived. Cancelling ctx closes the connection, at any moment
// until the response's body is closed; the process at the other end sees its client disconnect. Nothing is ever sent
// twice: a request may have been what ended the process.
func (c *Client) Do(ctx context.Context, req *Request) (*Response, error) {
	cn, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	return c.exchange(ctx, cn, req)
}

func (c *Client) exchange(ctx context.Context, cn *conn, req *Request) (*Response, error) {
	stop := context.AfterFunc(ctx, func() { cn.Close() })
	sent, err := send(cn, req)
	if err != nil {
		// The other end may have answered before it closed: prefer its words to our error.
		if cn.br.Buffered() == 0 {
			cn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		}
	}
	cn.head = maxHead
	head, rerr := readHead(ctx, cn.br, req)
	cn.head = -1
	if rerr != nil {
		stop()
		cn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if errors.Is(rerr, ErrHeadTooLarge) {
			return nil, rerr
		}
		if serr := unread(sent); serr != nil {
			return nil, serr
		}
		return nil, fmt.Errorf("%w: %w", ErrBroken, errors.Join(err, rerr))
	}
	res := &Response{Response: head, conn: cn}
	if head.StatusCode == http.StatusSwitchingProtocols {
		stop()
		return res, nil
	}
	res.Body = &body{ReadCloser: head.Body, client: c, conn: cn, sent: sent, stop: stop, broken: err != nil || head.Close}
	return res, nil
}

// unread returns why the rest of a request's body could not be read, where that is why sending it has ended.
func unread(sent <-chan error) error {
	select {
	case err := <-sent: // never, where there is no body
		if errors.As(err, new(*sourceError)) {
			return err
		}
	default:
	}
	return nil
}

// readHead reads a response head, passing over 1xx responses other than 101.
func readHead(ctx context.Context, br *bufio.Reader, req *Request) (*http.Response, error) {
	if res := readPlain(br, req); res != nil {
		return res, nil
	}
	for range 5 {
		res, err := http.ReadResponse(br, &http.Request{Method: req.Method})
		if err != nil {
			return nil, err
		}
		if res.StatusCode == http.StatusSwitchingProtocols || res.StatusCode >= 200 {
			return res, nil
		}
		if t := httptrace.ContextClientTrace(ctx); t != nil && t.Got1xxResponse != nil {
			if err := t.Got1xxResponse(res.StatusCode, nil); err != nil {
				return nil, err
			}
		}
	}
	return nil, errors.New("too many 1xx responses")
}

// readPlain reads a response that is all there up to its body and has a length, or returns nil and takes nothing.
func readPlain(br *bufio.Reader, req *Request) *http.Response {
	if _, err := br.Peek(1); err != nil {
		return nil // http.ReadResponse meets it, too
	}
	b, _ := br.Peek(br.Buffered()) // it is there
	h, v := parseResponse(b)
	if v != plain {
		return nil
	}
	res := &http.Response{Status: h.status, StatusCode: h.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h.header, ContentLength: h.length, Body: http.NoBody, Close: h.close}
	switch {
	case req.Method == http.MethodHead:
	case h.code == http.StatusNoContent || h.code == http.StatusNotModified:
		res.ContentLength = 0
	case h.length < 0:
		return nil // up to the connection's end
	case h.length > 0:
		res.Body = &fixed{br, h.length}
	}
	br.Discard(h.size)
	return res
}

// fixed is a body of known length.
type fixed struct {
	br   *bufio.Reader
	left int64
}

func (f *fixed) Read(p []byte) (int, error) {
	if f.left == 0 {
		return 0, io.EOF
	}
	n, err := f.br.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	switch {
	case f.left == 0:
		err = io.EOF
	case err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (f *fixed) Close() error { return nil }

// send writes the request. The channel yields once the body has been written whole (nil) or failed; it is nil where
// there is no body.
func send(cn *conn, req *Request) (<-chan error, error) {
	w := cn.bw
	w.WriteString(req.Method)
	w.WriteByte(' ')
	w.WriteString(req.Target)
	w.WriteString(" HTTP/1.1\r\nHost: ")
	w.WriteString(req.Host)
	w.WriteString("\r\n")
	for name, values := range req.Header {
		for _, v := range values {
			writeHeader(w, name, v)
		}
	}
	for i := 0; i+1 < len(req.Extra); i += 2 {
		writeHeader(w, req.Extra[i], req.Extra[i+1])
	}
	switch {
	case req.Upgrade:
		w.WriteString("Connection: Upgrade\r\nUpgrade: websocket\r\n")
	case req.Body == nil:
		if req.Method == "POST" || req.Method == "PUT" || req.Method == "PATCH" {
			w.WriteString("Content-Length: 0\r\n")
		}
	case req.Length >= 0:
		w.WriteString("Content-Length: ")
		w.WriteString(strconv.FormatInt(req.Length, 10))
		w.WriteString("\r\n")
	default:
		w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	w.WriteString("\r\n")
	if req.Body == nil || req.Upgrade {
		return nil, w.Flush()
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		err := sendBody(w, req)
		done <- err
		if errors.As(err, new(*sourceError)) {
			cn.Close() // the other end would wait for the rest, and the caller for an answer
		}
	}()
	return done, nil
}

// newlines take header values apart; net/http's server lets none in, isolate processes are not trusted to.
var newlines = strings.NewReplacer("\r", " ", "\n", " ", "\x00", " ")

func writeHeader(w *bufio.Writer, name, value string) {
	w.WriteString(name)
	w.WriteString(": ")
	if strings.ContainsAny(value, "\r\n\x00") {
		value = newlines.Replace(value)
	}
	w.WriteString(value)
	w.WriteString("\r\n")
}

func sendBody(w *bufio.Writer, req *Request) error {
	if req.Length >= 0 {
		n, err := copyFlush(w, io.LimitReader(req.Body, req.Length))
		if err == nil && n < req.Length {
			err = &sourceError{io.ErrUnexpectedEOF}
		}
		return err
	}
	if _, err := copyFlush(chunks{w}, req.Body); err != nil {
		return err
	}
	w.WriteString("0\r\n\r\n")
	return w.Flush()
}

// flusher is a writer whose bytes can be pushed out.
type flusher interface {
	io.Writer
	Flush() error
}

// chunks writes each Write as one chunk (RFC 9112, section 7.1).
type chunks struct{ *bufio.Writer }

func (c chunks) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	fmt.Fprintf(c.Writer, "%x\r\n", len(p))
	n, err := c.Writer.Write(p)
	c.Writer.WriteString("\r\n")
	return n, err
}

// buffers hold what is copied at once: as much as the engine writes.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

// sourceError is why no more of a body could be read.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read body: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// copyFlush copies and flushes after each read, so that a stream's bytes are never kept back.
func copyFlush(w flusher, r io.Reader) (n int64, err error) {
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	for {
		k, rerr := r.Read(*bp)
		if k > 0 {
			if _, err := w.Write((*bp)[:k]); err != nil {
				return n, err
			}
			if err := w.Flush(); err != nil {
				return n, err
			}
			n += int64(k)
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, &sourceError{rerr}
		}
	}
}

// body gives its connection back when both directions have ended.
type body struct {
	io.ReadCloser
	client *Client
	conn   *conn
	sent   <-chan error
	stop   func() bool
	eof    bool
	broken bool
	once   sync.Once
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.eof = true
	} else if err != nil {
		b.broken = true
	}
	return n, err
}

func (b *body) Close() error {
	b.once.Do(b.release)
	return nil
}

func (b *body) release() {
	live := b.stop() // false: the context has closed the connection
	if !b.eof && b.ReadCloser == http.NoBody {
		b.eof = true
	}
	if b.sent != nil {
		select {
		case err := <-b.sent:
			live = live && err == nil
		default:
			live = false // still sending: the response came before the request had been read
		}
	}
	if live && b.eof && !b.broken {
		b.client.put(b.conn)
		return
	}
	b.conn.Close()
}

// Connect asks the server at a Unix socket to be connected with a host (RFC 9110, section 9.3.6).
func Connect(ctx context.Context, path, host string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if _, err = fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", host); err == nil {
		err = readConnected(c)
	}
	if err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	return c, nil
}

// readConnected reads the head of the answer to a CONNECT byte by byte, since what follows is not HTTP any more.
func readConnected(c net.Conn) error {
	head := make([]byte, 0, 256)
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); {
		if len(head) == maxHead {
			return ErrHeadTooLarge
		}
		if _, err := c.Read(b); err != nil {
			return err
		}
		head = append(head, b[0])
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), &http.Request{Method: http.MethodConnect})
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("connect: %s", res.Status)
	}
	return err
}
