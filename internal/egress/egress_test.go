package egress

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

func TestPublic(t *testing.T) {
	for _, public := range []string{"1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::"} {
		if !Public(netip.MustParseAddr(public)) {
			t.Errorf("%s is public", public)
		}
	}
	for _, private := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1",
		"2001:db8::1", "2002:7f00:1::", "2002:a00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1", "fec0::1", "ff02::1",
	} {
		if Public(netip.MustParseAddr(private)) {
			t.Errorf("%s is not public", private)
		}
	}
}

// front serves the gate's answer to each request.
func front(t *testing.T, opts Options) *httptest.Server {
	t.Helper()
	g := New(slog.New(slog.DiscardHandler), opts)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.ServeHTTP(w, r, "http"); err != nil {
			w.Header().Set("X-Forbidden", fmt.Sprint(errors.Is(err, ErrForbidden)))
			http.Error(w, Reason(err), http.StatusBadGateway)
		}
	}))
	t.Cleanup(func() { s.Close(); g.Close() })
	return s
}

func get(t *testing.T, front *httptest.Server, host, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequest("GET", front.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestLoopbackIsForbidden(t *testing.T) {
	reached := false
	origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer origin.Close()
	_, port, _ := net.SplitHostPort(origin.Listener.Addr().String())
	f := front(t, Options{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1", "127.1"} {
		if res := get(t, f, host+":"+port, "/"); res.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: status %d", host, res.StatusCode)
		}
	}
	if reached {
		t.Error("a Worker reached the node's own network")
	}
}

func TestAllowedOrigin(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Atoll-Error", "forged")
		if r.URL.Path == "/redirect" {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s %q %q", r.RequestURI, r.UserAgent(), r.Header.Get("Atoll-Invocation"))
	}))
	defer origin.Close()
	f := front(t, Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	res := get(t, f, origin.Listener.Addr().String(), "/a%2fb//c?d")
	if b, _ := io.ReadAll(res.Body); string(b) != `/a%2fb//c?d "Go-http-client/1.1" ""` || res.Header.Get("Atoll-Error") != "" {
		t.Errorf("got %q, %v", b, res.Header)
	}
	if res := get(t, f, origin.Listener.Addr().String(), "/redirect"); res.StatusCode != http.StatusFound {
		t.Errorf("a redirect was followed: %d", res.StatusCode)
	}
}
