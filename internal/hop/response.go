package hop

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
)

// Response is the answer to a Request. Its Body must be closed.
type Response struct {
	*http.Response
	conn *conn
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
