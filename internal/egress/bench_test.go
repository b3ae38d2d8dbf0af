package egress

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkFetch is the way of a subrequest through the gate, from a process's socket to an origin's.
func BenchmarkFetch(b *testing.B) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello World!") }))
	defer origin.Close()
	g := New(nil, Options{Allow: loopback})
	defer g.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.Fetch(w, r, Caller{Script: alice}, "http"); err != nil {
			b.Error(err)
		}
	}))
	defer front.Close()
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	br := bufio.NewReader(conn)
	request := "GET / HTTP/1.1\r\nHost: " + origin.Listener.Addr().String() + "\r\n\r\n"
	b.ReportAllocs()
	for b.Loop() {
		io.WriteString(conn, request)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
	}
}
