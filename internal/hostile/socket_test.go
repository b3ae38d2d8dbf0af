package hostile_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A socket is the client's end of a WebSocket (RFC 6455).
type socket struct {
	net.Conn
	r *bufio.Reader
}

// socket opens one to a host, with more headers where there are any.
func (s *site) socket(t *testing.T, host, limits string, header http.Header) *socket {
	t.Helper()
	ws, res := s.upgrade(t, host, limits, header)
	if res.StatusCode != http.StatusSwitchingProtocols {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		t.Fatalf("no WebSocket: %s %s", res.Status, b)
	}
	return ws
}

// upgrade asks for one and returns the answer.
func (s *site) upgrade(t *testing.T, host, limits string, header http.Header) (*socket, *http.Response) {
	t.Helper()
	req := s.request(t, "GET", host, "/", limits, nil)
	for name, values := range header {
		req.Header[name] = values
	}
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket",
		"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		req.Header.Set(name, value)
	}
	c := s.dial(t)
	if err := req.Write(c); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		t.Fatal(err)
	}
	return &socket{c, r}, res
}

// send sends a short text.
func (ws *socket) send(t *testing.T, text string) {
	t.Helper()
	frame := append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...) // masked with zeros
	if _, err := ws.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// next reads a frame of at most 64 KB, of which it returns the operation and what it carries.
func (ws *socket) next() (op byte, data string, err error) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(ws.r, head); err != nil {
		return 0, "", err
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		long := make([]byte, 2)
		if _, err := io.ReadFull(ws.r, long); err != nil {
			return 0, "", err
		}
		n = int(long[0])<<8 | int(long[1])
	}
	var b strings.Builder
	_, err = io.CopyN(&b, ws.r, int64(n))
	return head[0] & 0xf, b.String(), err
}

// ends reads until the other side has ended the connection, by a frame that says so or without.
func (ws *socket) ends(t *testing.T) {
	t.Helper()
	const closing = 8
	for {
		op, _, err := ws.next()
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Error("the WebSocket was never ended")
			return
		}
		if err != nil || op == closing {
			return
		}
	}
}
