package hop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reply is the http.ResponseWriter of a Front. Head and body leave in one write where the body is small. It does what
// net/http's does, but that it guesses no Content-Type.
type reply struct {
	conn   *served
	r      *http.Request
	cancel context.CancelFunc
	header http.Header
	bufs   *replyBuffers

	head      []byte // what is to be sent
	held      []byte // body whose length is not told yet
	wrote     bool   // WriteHeader has been called
	framed    bool   // the head is complete
	bodiless  bool
	chunked   bool
	length    int64 // declared; -1: not
	written   int64 // of the body
	last      bool  // the connection ends with this answer
	broken    bool  // it is of no use any more
	hijacked  bool
	deadlines bool // some have been set
}

type replyBuffers struct{ head, held []byte }

// replyBuffers hold a head and a small body each, and as much of a body whose length is not known yet.
var replyPool = sync.Pool{New: func() any {
	return &replyBuffers{make([]byte, 0, 8<<10), make([]byte, 0, 4<<10)}
}}

func newReply(s *served, r *http.Request, cancel context.CancelFunc) *reply {
	b := replyPool.Get().(*replyBuffers)
	return &reply{conn: s, r: r, cancel: cancel, header: make(http.Header, 8), bufs: b, head: b.head[:0], held: b.held[:0], length: -1}
}

// free gives the buffers back. Nothing can be written any more.
func (w *reply) free() {
	w.broken = true
	b := w.bufs
	if cap(w.head) <= 32<<10 {
		b.head = w.head
	}
	w.head, w.held, w.bufs = nil, nil, nil
	replyPool.Put(b)
}

// Header implements http.ResponseWriter.
func (w *reply) Header() http.Header { return w.header }

// framing are headers that the writer makes itself.
func framing(name string) bool {
	return name == "Content-Length" || name == "Transfer-Encoding" || name == "Connection"
}

// unchanged are headers that a 304 response has not (RFC 9110, section 15.4.5), as net/http sees it.
func unchanged(name string) bool { return framing(name) || name == "Content-Type" }

// WriteHeader implements http.ResponseWriter.
func (w *reply) WriteHeader(code int) {
	if w.hijacked || w.wrote || w.broken {
		return
	}
	if code < 100 || code > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", code))
	}
	w.statusLine(code)
	if code < 200 && code != http.StatusSwitchingProtocols {
		w.head = append(appendHeader(w.head, w.header, framing), "\r\n"...)
		w.send()
		return
	}
	w.wrote = true
	w.bodiless = code < 200 || code == http.StatusNoContent || code == http.StatusNotModified
	skip := framing
	if code == http.StatusNotModified {
		skip = unchanged
	}
	w.head = appendHeader(w.head, w.header, skip)
	if _, ok := w.header["Date"]; !ok {
		w.head = append(append(append(w.head, "Date: "...), w.conn.front.now()...), "\r\n"...)
	}
	if v := w.header["Connection"]; len(v) > 0 && strings.EqualFold(v[0], "close") {
		w.last = true
	}
	if v := w.header["Content-Length"]; len(v) > 0 && !w.bodiless {
		if n, err := strconv.ParseInt(v[0], 10, 64); err == nil && n >= 0 {
			w.length = n
			w.frame()
		}
	}
}

func (w *reply) statusLine(code int) {
	w.head = append(w.head, "HTTP/1.1 "...)
	w.head = strconv.AppendInt(w.head, int64(code), 10)
	w.head = append(append(append(w.head, ' '), http.StatusText(code)...), "\r\n"...)
}

// frame completes the head: the body's length is known, or known not to be known.
func (w *reply) frame() {
	w.framed = true
	switch {
	case w.length >= 0:
		w.head = append(w.head, "Content-Length: "...)
		w.head = strconv.AppendInt(w.head, w.length, 10)
		w.head = append(w.head, "\r\n"...)
	case !w.bodiless && w.r.Method != http.MethodHead:
		w.chunked = true
		w.head = append(w.head, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.last || w.r.Close {
		w.last = true
		w.head = append(w.head, "Connection: close\r\n"...)
	}
	w.head = append(w.head, "\r\n"...)
}

// Write implements http.ResponseWriter.
func (w *reply) Write(p []byte) (int, error) {
	switch {
	case w.hijacked:
		return 0, http.ErrHijacked
	case w.broken:
		return 0, net.ErrClosed
	case !w.wrote:
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case w.bodiless:
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.written+int64(len(p)) > w.length:
		w.last = w.r.Method != http.MethodHead
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	if !w.framed {
		if len(w.held)+len(p) <= cap(w.held) {
			w.held = append(w.held, p...)
			return len(p), nil
		}
		w.frame()
		if err := w.unhold(); err != nil {
			return 0, err
		}
	}
	if err := w.body(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unhold sends the body that was held back for its length.
func (w *reply) unhold() error {
	if len(w.held) == 0 {
		return nil
	}
	err := w.body(w.held)
	w.held = w.held[:0]
	return err
}

// body sends, or buffers, a part of the body of a head that is complete.
func (w *reply) body(p []byte) error {
	if w.r.Method == http.MethodHead {
		return nil
	}
	if w.chunked {
		w.head = strconv.AppendInt(w.head, int64(len(p)), 16)
		w.head = append(w.head, "\r\n"...)
	}
	if len(w.head)+len(p) <= cap(w.head)-2 {
		w.head = append(w.head, p...)
		if w.chunked {
			w.head = append(w.head, "\r\n"...)
		}
		return nil
	}
	return w.large(p)
}

// crlf ends a chunk.
var crlf = []byte("\r\n")

// large sends a part of a body for which there is no room with what waits before it.
func (w *reply) large(p []byte) error {
	parts := [3][]byte{w.head, p}
	if w.chunked {
		parts[2] = crlf
	}
	var err error
	if v, ok := w.conn.Conn.(vectored); ok && len(p) <= most && !w.broken {
		err = w.failed(v.writev(parts))
	} else {
		for _, part := range parts {
			if err == nil && len(part) > 0 {
				err = w.write(part)
			}
		}
	}
	w.head = w.head[:0]
	return err
}

// send sends what waits.
func (w *reply) send() error {
	if len(w.head) == 0 {
		return nil
	}
	err := w.write(w.head)
	w.head = w.head[:0]
	return err
}

func (w *reply) write(p []byte) error {
	if w.broken {
		return net.ErrClosed
	}
	_, err := w.conn.Conn.Write(p)
	return w.failed(err)
}

// failed takes note of an error of the connection.
func (w *reply) failed(err error) error {
	if err != nil {
		w.broken = true
		w.cancel()
	}
	return err
}

// FlushError sends everything that has been written; http.ResponseController calls it.
func (w *reply) FlushError() error {
	switch {
	case w.hijacked:
		return http.ErrHijacked
	case w.broken:
		return net.ErrClosed
	case !w.wrote:
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		w.frame()
		if err := w.unhold(); err != nil {
			return err
		}
	}
	return w.send()
}

// Flush implements http.Flusher.
func (w *reply) Flush() { w.FlushError() } // a broken connection shows at the next write

// finish completes the answer and tells whether all of it was sent.
func (w *reply) finish(again bool) bool {
	if !again {
		w.last = true
	}
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if !w.framed {
		if !w.bodiless && (w.r.Method != http.MethodHead || w.written > 0) {
			w.length = w.written
		}
		w.frame()
		w.unhold()
	} else if w.chunked && w.r.Method != http.MethodHead {
		w.head = append(w.head, "0\r\n\r\n"...)
	}
	if w.length > w.written && !w.bodiless && w.r.Method != http.MethodHead {
		w.last = true // less than was said: the client must see that
		w.send()
		w.broken = true
		return false
	}
	return w.send() == nil
}

// ReadFrom implements io.ReaderFrom: a file of declared length goes to the socket by sendfile(2).
func (w *reply) ReadFrom(r io.Reader) (int64, error) {
	if !w.wrote && !w.hijacked && !w.broken {
		w.WriteHeader(http.StatusOK)
	}
	limited, ok := r.(*io.LimitedReader)
	to, can := w.conn.Conn.(io.ReaderFrom)
	if ok && can && w.framed && !w.chunked && !w.bodiless && w.r.Method != http.MethodHead && !w.broken && !w.hijacked &&
		limited.N <= w.length-w.written && isFile(limited.R) {
		if err := w.send(); err != nil {
			return 0, err
		}
		n, err := to.ReadFrom(r)
		w.written += n
		return n, err
	}
	bp := buffers.Get().(*[]byte)
	defer buffers.Put(bp)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, *bp)
}

func isFile(r io.Reader) bool {
	_, ok := r.(*os.File)
	return ok
}

// Hijack implements http.Hijacker.
func (w *reply) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	switch {
	case w.hijacked:
		return nil, nil, http.ErrHijacked
	case w.wrote || w.broken:
		return nil, nil, net.ErrClosed
	}
	w.hijacked = true
	s := w.conn
	s.unwatch()
	c := &resumed{Conn: s.Conn}
	if s.from < s.to {
		c.ahead = append([]byte(nil), s.buf[s.from:s.to]...)
	}
	// What was read ahead shows as buffered, all of it: callers take so much from there and the rest from the connection.
	br := bufio.NewReaderSize(c, max(4096, len(c.ahead)))
	if len(c.ahead) > 0 {
		br.Peek(1)
	}
	return c.Conn, bufio.NewReadWriter(br, bufio.NewWriter(s.Conn)), nil
}

// EnableFullDuplex is for http.ResponseController: reading the body while answering is always allowed.
func (w *reply) EnableFullDuplex() error { return nil }

// SetReadDeadline is for http.ResponseController.
func (w *reply) SetReadDeadline(t time.Time) error {
	w.deadlines = true
	return w.conn.Conn.SetReadDeadline(t)
}

// SetWriteDeadline is for http.ResponseController.
func (w *reply) SetWriteDeadline(t time.Time) error {
	w.deadlines = true
	return w.conn.Conn.SetWriteDeadline(t)
}
