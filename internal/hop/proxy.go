package hop

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Internal is the prefix of the headers by which the node and an isolate process talk to each other. None of them
// crosses the node's border in either direction: Clean removes them from what comes in, Relay from what goes out.
const Internal = "Atoll-"

// hopByHop are the headers that concern one connection only (RFC 9110, section 7.6.1), and the two that the writers set
// themselves.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Content-Length": true, "Host": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true,
}

// Clean returns h without the hop-by-hop headers, those that its Connection header names, and the node's own.
func Clean(h http.Header) http.Header {
	out := make(http.Header, len(h)+8)
	for name, v := range h {
		if !hopByHop[name] && !strings.HasPrefix(name, Internal) {
			out[name] = v
		}
	}
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			delete(out, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	return out
}

// FromServer makes a Request of what an http.Server received, with cleaned headers and the target as it was sent.
func FromServer(r *http.Request) *Request {
	req := &Request{Method: r.Method, Target: Target(r), Host: r.Host, Header: Clean(r.Header), Upgrade: IsWebSocket(r.Header)}
	if r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody && !req.Upgrade {
		req.Body, req.Length = r.Body, r.ContentLength
	}
	return req
}

// Target returns the origin form of r's request target (RFC 9112, section 3.2.1), byte for byte as sent.
func Target(r *http.Request) string {
	t := r.RequestURI
	if strings.HasPrefix(t, "/") {
		return t
	}
	if i := strings.Index(t, "://"); i > 0 { // absolute form
		if j := strings.IndexAny(t[i+3:], "/?"); j >= 0 {
			t = t[i+3+j:]
			if t[0] == '?' {
				t = "/" + t
			}
			return t
		}
		return "/"
	}
	return r.URL.RequestURI()
}

// IsWebSocket tells whether a request's headers ask for a WebSocket (RFC 6455, section 4.1).
func IsWebSocket(h http.Header) bool {
	if len(h["Upgrade"]) == 0 || !strings.EqualFold(h["Upgrade"][0], "websocket") {
		return false
	}
	for _, v := range h["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}

// Relay answers w with res, whose body it closes. A stream's bytes are flushed as they come. A 101 response is relayed by
// joining the two connections until both have ended or ctx is done. When the body breaks off, Relay panics with
// http.ErrAbortHandler, so that the client sees the break and never a short body as if it were whole.
func Relay(ctx context.Context, w http.ResponseWriter, res *Response) {
	if res.StatusCode == http.StatusSwitchingProtocols {
		RelayUpgrade(ctx, w, res.Header, upgraded{res.conn})
		return
	}
	h := w.Header()
	for name, v := range res.Header {
		if !hopByHop[name] && !strings.HasPrefix(name, Internal) {
			h[name] = v
		}
	}
	defer res.Body.Close()
	if res.Header["Content-Type"] == nil {
		h["Content-Type"] = nil // net/http would guess one, and a Worker's answer without a type has none
	}
	if res.ContentLength >= 0 {
		h["Content-Length"] = res.Header["Content-Length"]
	}
	w.WriteHeader(res.StatusCode)
	if res.Body == http.NoBody {
		return
	}
	if err := copyBody(w, res); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func copyBody(w http.ResponseWriter, res *Response) error {
	if res.ContentLength >= 0 && res.ContentLength <= 32<<10 {
		bp := buffers.Get().(*[]byte)
		defer buffers.Put(bp)
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{res.Body}, *bp)
		return err
	}
	f := responseFlusher{w, http.NewResponseController(w)}
	if res.conn == nil || res.conn.br.Buffered() == 0 {
		// The body may be long in coming, and may even wait for what the client does with the head.
		if err := f.Flush(); err != nil {
			return err
		}
	}
	_, err := copyFlush(f, res.Body)
	return err
}

type responseFlusher struct {
	http.ResponseWriter
	c *http.ResponseController
}

func (f responseFlusher) Flush() error { return f.c.Flush() }

// upgraded reads what was read ahead of a connection first.
type upgraded struct{ *conn }

func (u upgraded) Read(p []byte) (int, error) { return u.conn.br.Read(p) }
func (u upgraded) CloseWrite() error {
	if cw, ok := u.conn.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return u.conn.Close()
}

// RelayUpgrade finishes a WebSocket handshake with w's client by the headers of the other side's 101 response, and copies
// both ways until both have ended or ctx is done. It closes other.
func RelayUpgrade(ctx context.Context, w http.ResponseWriter, header http.Header, other io.ReadWriteCloser) {
	head := &http.Response{StatusCode: 101, ProtoMajor: 1, ProtoMinor: 1, Header: Clean(header)}
	head.Header.Set("Connection", "Upgrade")
	head.Header.Set("Upgrade", "websocket")
	takeOver(ctx, w, head.Write, other)
}

// RelayConnect accepts a CONNECT request (RFC 9110, section 9.3.6) and copies both ways until both have ended or ctx is
// done. It closes other.
func RelayConnect(ctx context.Context, w http.ResponseWriter, other io.ReadWriteCloser) {
	takeOver(ctx, w, func(w io.Writer) error {
		_, err := io.WriteString(w, "HTTP/1.1 200 OK\r\n\r\n")
		return err
	}, other)
}

// takeOver answers w's client with what head writes and joins its connection with other.
func takeOver(ctx context.Context, w http.ResponseWriter, head func(io.Writer) error, other io.ReadWriteCloser) {
	defer other.Close()
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusNotImplemented) // HTTP/2: no WebSockets without RFC 8441
		return
	}
	defer client.Close()
	client.SetDeadline(time.Time{})
	if err := head(rw); err != nil {
		return
	}
	if err := rw.Flush(); err != nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { client.Close(); other.Close() })
	defer stop()
	// The server's reader ends ctx at the client's half-close, so it is left as soon as it is empty.
	join(client, io.MultiReader(io.LimitReader(rw.Reader, int64(rw.Reader.Buffered())), client), other)
}

// join copies a to b and b to a until both have ended; fromA holds what was read ahead of a. One side's end is passed on
// as a half-close, so that a closing handshake can still come back.
func join(a net.Conn, fromA io.Reader, b io.ReadWriteCloser) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(b, fromA)
		closeWrite(b)
	}()
	io.Copy(a, b)
	closeWrite(a)
	a.SetReadDeadline(time.Now().Add(10 * time.Second)) // a peer that never closes must not keep us
	<-done
}

func closeWrite(c io.Closer) {
	if cw, ok := c.(interface{ CloseWrite() error }); ok {
		cw.CloseWrite()
		return
	}
	c.Close()
}
