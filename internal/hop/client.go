package hop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// idleTimeout is how long a connection may rest before it is dropped. kj's HTTP server, which workerd uses, closes a
// connection that stayed silent for 5 s (HttpServerSettings::pipelineTimeout); ours must be the earlier.
const idleTimeout = 4 * time.Second

const maxIdle = 64

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
