package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestConnect(t *testing.T) {
	echo := func(t *testing.T, l net.Listener) string {
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b, _ := io.ReadAll(c) // until the other side's half-close
					slices.Reverse(b)
					c.Write(b)
				}()
			}
		}()
		return l.Addr().String()
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	roots := x509.NewCertPool()
	roots.AddCert(cert.Certificate())
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: cert.TLS.Certificates})
	if err != nil {
		t.Fatal(err)
	}
	g := newGate(t, Options{Allow: loopback, Roots: roots, MaxSockets: 1, DialTimeout: 300 * time.Millisecond})
	for n, c := range []struct{ proto, addr, want string }{
		{"tcp", echo(t, plain), "olleh"}, {"tls", echo(t, secure), "olleh"},
	} {
		conn, br, res := connect(t, g.front(Caller{Script: router}, c.proto), c.addr)
		if res.StatusCode != 200 {
			t.Fatalf("%s: %s", c.proto, res.Status)
		}
		if _, _, res := connect(t, g.front(Caller{Script: router}, c.proto), c.addr); res.StatusCode != 502 {
			t.Errorf("one socket too many: %s", res.Status)
		}
		fmt.Fprint(conn, "hello")
		conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(br); err != nil || string(b) != c.want {
			t.Errorf("%s: %q, %v", c.proto, b, err)
		}
		if r := g.last(2*n + 2); r.Kind != Connect || r.Scheme != c.proto || r.Sent != 5 || r.Received != 5 {
			t.Errorf("%s: record %+v", c.proto, r)
		}
	}
	for _, c := range []struct {
		name   string
		caller Caller
		addr   string
	}{
		{"user-worker", Caller{Script: alice}, plain.Addr().String()},
		{"no-port", Caller{Script: router}, "127.0.0.1"},
		{"smtp", Caller{Script: router}, "127.0.0.1:25"},
		{"private", Caller{Script: router}, "10.0.0.1:80"},
		{"tls-to-plain-text", Caller{Script: router}, plain.Addr().String()},
	} {
		proto := "tcp"
		if c.name == "tls-to-plain-text" {
			proto = "tls"
		}
		if _, _, res := connect(t, g.front(c.caller, proto), c.addr); res.StatusCode != 502 {
			t.Errorf("%s: %s", c.name, res.Status)
		}
	}
}

// connect asks front for a tunnel.
func connect(t *testing.T, front *httptest.Server, authority string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", authority, authority)
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return conn, br, res
}
