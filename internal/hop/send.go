package hop

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
)

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
