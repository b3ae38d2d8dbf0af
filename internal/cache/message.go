package cache

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// maxHead bounds the status line and headers of a response that is to be stored.
const maxHead = 128 << 10

// message is a response as the runtime serialises it for a put: the head of HTTP/1.1, and then the body as it is, without
// chunks whatever the head says. https://github.com/cloudflare/workerd/blob/main/src/workerd/api/cache.c++
type message struct {
	status int
	header http.Header
	length int64 // of the body as the head says; -1: it does not
	body   io.Reader
}

var errMessage = errors.New("the response to store is malformed")

// readMessage reads the head.
func readMessage(r io.Reader) (message, error) {
	head := &io.LimitedReader{R: r, N: maxHead}
	br := bufio.NewReader(head)
	tp := textproto.NewReader(br)
	line, err := tp.ReadLine()
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(proto, "HTTP/1.") || len(code) != 3 || err != nil || status < 100 {
		return message{}, fmt.Errorf("%w: status line %.100q", errMessage, line)
	}
	mime, err := tp.ReadMIMEHeader()
	if err != nil {
		return message{}, fmt.Errorf("%w: %w", errMessage, err)
	}
	m := message{status: status, header: http.Header(mime), length: -1}
	if v := m.header["Content-Length"]; len(v) > 0 {
		if m.length, err = strconv.ParseInt(v[0], 10, 64); err != nil || m.length < 0 || len(v) > 1 {
			return message{}, fmt.Errorf("%w: Content-Length %.100q", errMessage, v)
		}
	}
	clean(m.header)
	head.N = 0 // br holds what it has read of the body
	m.body = io.MultiReader(io.LimitReader(br, int64(br.Buffered())), r)
	return m, nil
}

// hopByHop are the headers that concern one connection (RFC 9111, 3.1), the one that is counted anew, and the one that says
// where a response comes from.
var hopByHop = []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization", "Content-Length", "Cf-Cache-Status"}

// clean removes what is not stored. The values that stay cannot be appended to: they will be shared.
func clean(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	for name, v := range h {
		h[name] = slices.Clip(v)
	}
}

// headSize is what a head takes in memory, about.
func headSize(key string, v vary, h http.Header) int64 {
	const entry, header = 700, 80 // of our structures
	n := int64(entry + len(key))
	for name, list := range h {
		n += header + int64(len(name))
		for _, value := range list {
			n += 16 + int64(len(value))
		}
	}
	for _, d := range v {
		n += header + int64(len(d.name)+len(d.value))
	}
	return n
}
