package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// response is one HTTP/1.1 response. Its bytes are valid until the next read of its connection.
type response struct {
	status int
	head   []byte // the lines after the status line
	body   []byte
	close  bool // the server closes the connection after it
}

// header returns the first value of a header.
func (r *response) header(name string) string {
	for line := range bytes.SplitSeq(r.head, []byte("\r\n")) {
		if k, v, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(k, []byte(name)) {
			return string(bytes.TrimSpace(v))
		}
	}
	return ""
}

var errMalformed = errors.New("malformed response")

// parse reads a response from the beginning of b and returns its length, or 0 while it is not all there. A response to
// HEAD cannot be read, nor one that ends with its connection: what the bench asks is answered with neither.
func parse(b []byte) (res response, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return res, 0, nil
	}
	line, head, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return res, 0, fmt.Errorf("%w: %.60q", errMalformed, line)
	}
	if res.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return res, 0, fmt.Errorf("%w: %.60q", errMalformed, line)
	}
	res.head = head
	rest := b[end+4:]
	if res.status < 200 { // an interim response
		more := len(b) - len(rest)
		if res, n, err = parse(rest); n > 0 {
			n += more
		}
		return res, n, err
	}
	length, chunked := 0, false
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		k, v, _ := bytes.Cut(line, []byte(":"))
		v = bytes.TrimSpace(v)
		switch len(k) { // most headers differ in length already
		case len("content-length"):
			if bytes.EqualFold(k, []byte("content-length")) {
				if length, err = strconv.Atoi(string(v)); err != nil || length < 0 {
					return res, 0, fmt.Errorf("%w: content-length %.20q", errMalformed, v)
				}
			}
		case len("transfer-encoding"):
			chunked = chunked || bytes.EqualFold(k, []byte("transfer-encoding")) && bytes.EqualFold(v, []byte("chunked"))
		case len("connection"):
			res.close = res.close || bytes.EqualFold(k, []byte("connection")) && bytes.EqualFold(v, []byte("close"))
		}
	}
	if chunked {
		res.body, n, err = parseChunks(rest)
	} else if len(rest) >= length {
		res.body, n = rest[:length], length
		return res, end + 4 + n, nil
	}
	if n > 0 {
		n += end + 4
	}
	return res, n, err
}

// parseChunks reads a chunked body (RFC 9112, section 7.1) without trailers; n is 0 while it is not all there.
func parseChunks(b []byte) (body []byte, n int, err error) {
	for {
		line, rest, ok := bytes.Cut(b[n:], []byte("\r\n"))
		if !ok {
			return nil, 0, nil
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: chunk of size %.20q", errMalformed, line)
		}
		if len(rest) < int(size)+2 {
			return nil, 0, nil
		}
		n += len(line) + 2 + int(size) + 2
		if size == 0 {
			return body, n, nil
		}
		body = append(body, rest[:size]...)
	}
}

// conn is a client's connection for one request at a time. Unlike net/http's client it never sends a request twice, so
// that one which is lost shows.
type conn struct {
	net.Conn
	buf []byte
	n   int // bytes of buf that hold the response last read
}

// maxAnswer is how long the bench waits for anything.
const maxAnswer = 30 * time.Second

func dial(network, address string) (*conn, error) {
	c, err := net.DialTimeout(network, address, maxAnswer)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{Conn: c}, nil
}

// do sends a request and reads its response. first is the moment when the response began to arrive.
func (c *conn) do(request string) (res response, first time.Time, err error) {
	if err := c.SetDeadline(time.Now().Add(maxAnswer)); err != nil {
		return res, first, err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return res, first, fmt.Errorf("send request: %w", err)
	}
	return c.answer()
}

// answer reads the response to what was written to the connection.
func (c *conn) answer() (res response, first time.Time, err error) {
	c.buf = append(c.buf[:0], c.buf[c.n:]...)
	c.n = 0
	for {
		if len(c.buf) > 0 {
			if res, c.n, err = parse(c.buf); err != nil || c.n > 0 {
				return res, first, err
			}
		}
		c.buf = append(c.buf, make([]byte, 4<<10)...)
		k, err := c.Read(c.buf[len(c.buf)-4<<10:])
		c.buf = c.buf[:len(c.buf)-4<<10+k]
		if err != nil {
			return res, first, fmt.Errorf("read response: %w", err)
		}
		if first.IsZero() {
			first = time.Now()
		}
	}
}

// request is a GET as a client would send it.
func request(host, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: atoll-bench\r\nAccept: */*\r\n\r\n"
}
