package egress

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

var (
	account = atoll.AccountID(strings.Repeat("0", 32))
	alice   = atoll.ScriptRef{Account: account, Namespace: "production", Name: "alice"}
	bob     = atoll.ScriptRef{Account: account, Namespace: "production", Name: "bob"}
	router  = atoll.ScriptRef{Account: account, Name: "router"} // a platform Worker
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

func TestFetch(t *testing.T) {
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Atoll-Error", "forged")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %q %d", r.Method, r.Host, r.RequestURI, r.UserAgent(), len(body))
	})
	g := newGate(t, Options{Allow: loopback})
	f := g.front(Caller{Script: alice, Invocation: "tag-1"}, "http")
	for i, target := range []string{"/a%2fb//c?d", "//double", "/a?%zz", "/a|b?b=|{}", "/a?", "/a/../b", "/%25?x=%2e"} {
		status, header, got := rawAsk(t, f, addr, target)
		if want := fmt.Sprintf("GET %s %s %q 0", addr, target, "test"); status != 200 || got != want {
			t.Errorf("%d: got %d %q, want %q", i, status, got, want)
		}
		if header.Get("Atoll-Error") != "" || header.Get("X-Hop") != "" {
			t.Errorf("headers of the answer: %v", header)
		}
	}
	if status, _, got := ask(t, f, "POST", addr, "/", strings.NewReader("12345")); status != 200 || !strings.HasSuffix(got, " 5") {
		t.Errorf("a body: %d %q", status, got)
	}
	r := g.last(8)
	if r.Script != alice || r.Invocation != "tag-1" || r.Kind != Fetch || r.Method != "POST" || r.Scheme != "http" || r.Host != addr ||
		r.Status != 200 || r.Sent != 5 || r.Received == 0 || r.Took <= 0 || r.Err != "" {
		t.Errorf("record: %+v", r)
	}
}

func TestHeaders(t *testing.T) {
	var got http.Header
	var host string
	addr := origin(t, func(_ http.ResponseWriter, r *http.Request) { got, host = r.Header, r.Host })
	g := newGate(t, Options{Allow: loopback, Zone: "atoll.localhost"})
	f := g.front(Caller{Script: alice, Hops: 3}, "http")
	status, _, _ := ask(t, f, "GET", addr, "/", nil,
		"CF-Connecting-IP", "1.1.1.1", "Cf-Worker", "forged.example", "CF-Ray", "1", "cf_connecting_ip", "1.1.1.1", "Cf-Ipcountry", "T1", "True-Client-IP", "1.1.1.1",
		"CF-Access-Client-Id", "id", "CF-Access-Client-Secret", "secret", "Cf-Access-Jwt-Assertion", "forged", "Atoll-Invocation", "x", "atoll_proto", "x",
		"Keep-Alive", "1", "Proxy-Authorization", "x", "Te", "trailers", "Expect", "100-continue", "Connection", "X-Secret", "X-Secret", "1",
		"Cdn-Loop", "other; x=1, atoll; hops=0", "X-Mine", "kept", "Accept-Encoding", "br")
	if status != 200 || host != addr {
		t.Fatalf("status %d, host %q", status, host)
	}
	for name, want := range map[string]string{
		"Cf-Worker": "atoll.localhost", "Cf-Access-Client-Id": "id", "Cf-Access-Client-Secret": "secret", "X-Mine": "kept",
		"Cdn-Loop": "other; x=1, atoll; hops=3", "Accept-Encoding": "br", "User-Agent": "Go-http-client/1.1",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("these were not taken away: %v", got)
	}
	ask(t, f, "GET", addr, "/", nil, "User-Agent", "") // Go's client sends none
	if got.Get("User-Agent") != "" {
		t.Errorf("a user agent was added: %q", got.Get("User-Agent"))
	}
	if status, _, why := ask(t, f, "GET", addr, "/", nil, "X-Large", strings.Repeat("x", maxHeader)); status != 502 || !strings.Contains(why, "headers are too large") {
		t.Errorf("large headers: %d %s", status, why)
	}
}

func TestLoops(t *testing.T) {
	for value, want := range map[string]int{
		"":                                    0,
		"cloudflare":                          0,
		"atoll":                               0,
		"atoll; hops=5":                       5,
		"ATOLL;HOPS = 5":                      5,
		"other; hops=9, atoll; hops=2":        2,
		"atoll; hops=2, x, atoll; a=b;hops=7": 7,
		"atoll; hops=-1":                      0,
		"atoll; hops=x":                       0,
		"atoll; hops=99999999":                maxLoop,
		"atoll; hops=99999999999999999999999": 0,
	} {
		if got := Loops(http.Header{loopHeader: {value}}); got != want {
			t.Errorf("%q: %d, want %d", value, got, want)
		}
		if got := Loops(http.Header{loopHeader: {markLoop([]string{value}, 4)}}); got != 4 {
			t.Errorf("%q marked with 4: %d", value, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	release := make(chan struct{})
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/large-header":
			w.Header().Set("X-Large", strings.Repeat("x", 2*maxHeader))
		case "/large":
			w.Write(make([]byte, 2000))
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		case "/late":
			<-release
		case "/close":
			panic(http.ErrAbortHandler)
		}
	})
	defer close(release)
	g := newGate(t, Options{Allow: loopback, MaxAnswer: 1000, AnswerTimeout: 50 * time.Millisecond})
	f := g.front(Caller{Script: alice}, "http")
	for target, want := range map[string]string{
		"/large-header": "Network connection lost.", "/large": "broken off", "/endless": "broken off",
		"/late": "Network connection timed out.", "/close": "Network connection lost.",
	} {
		if _, _, got := ask(t, f, "GET", addr, target, nil); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	broken := &table{err: errors.New("disk on fire")}
	for _, c := range []struct {
		name, host, want string
		opts             Options
	}{
		{"refused", closed, "Network connection refused.", Options{Allow: loopback}},
		{"no-name", "nobody.example", "DNS lookup failed: the name has no public address.", Options{Resolver: newZone(nil)}},
		{"no-rules", "1.1.1.1", "Network connection lost.", Options{Rules: broken}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGate(t, c.opts)
			if status, _, got := ask(t, g.front(Caller{Script: alice}, "http"), "GET", c.host, "/", nil); status != 502 || got != c.want {
				t.Errorf("got %d %q, want %q", status, got, c.want)
			}
			if r := g.last(1); r.Err != c.want || r.Status != 0 {
				t.Errorf("record: %+v", r)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	port, roots := secureOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.TLS.ServerName, " ", r.Host)
	})
	names := newZone(map[string][][]string{"example.com": {{"127.0.0.1"}}, "other.test": {{"127.0.0.1"}}})
	g := newGate(t, Options{Allow: loopback, Roots: roots, Resolver: names})
	f := g.front(Caller{Script: alice}, "https")
	if _, _, got := ask(t, f, "GET", "Example.com.:"+port, "/", nil); got != "HTTP/2.0 example.com Example.com.:"+port {
		t.Errorf("got %q", got)
	}
	const untrusted = "TLS handshake failed: the certificate is not valid for this host."
	if _, _, got := ask(t, f, "GET", "other.test:"+port, "/", nil); got != untrusted {
		t.Errorf("a certificate of another host: %q", got)
	}
	strict := newGate(t, Options{Allow: loopback, Resolver: names})
	if _, _, got := ask(t, strict.front(Caller{Script: alice}, "https"), "GET", "example.com:"+port, "/", nil); got != untrusted {
		t.Errorf("a certificate of nobody: %q", got)
	}
	if _, _, got := ask(t, g.front(Caller{Script: alice}, "http"), "GET", "example.com:"+port, "/", nil); !strings.Contains(got, "HTTP request to an HTTPS server") {
		t.Errorf("clear text: %q", got)
	}
}

// A connection that one script has opened is never used for another's subrequests.
func TestConnectionsAreTheirOwn(t *testing.T) {
	addr := origin(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
	g := newGate(t, Options{Allow: loopback})
	a, b := g.front(Caller{Script: alice}, "http"), g.front(Caller{Script: bob}, "http")
	_, _, first := ask(t, a, "GET", addr, "/", nil)
	_, _, again := ask(t, a, "GET", addr, "/", nil)
	_, _, other := ask(t, b, "GET", addr, "/", nil)
	if first != again || other == first {
		t.Errorf("alice used %s and %s, bob %s", first, again, other)
	}
}

func TestPlaces(t *testing.T) {
	var under, most atomic.Int32
	entered, release := make(chan bool), make(chan bool)
	addr := origin(t, func(http.ResponseWriter, *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		entered <- true
		<-release
	})
	g := newGate(t, Options{Allow: loopback, MaxRequests: 3})
	f := g.front(Caller{Script: alice}, "http")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { ask(t, f, "GET", addr, "/", nil) })
	}
	for range 20 {
		<-entered
		if under.Load() < 3 {
			continue
		}
		release <- true
	}
	close(release)
	wg.Wait()
	if most.Load() != 3 {
		t.Errorf("%d subrequests at once, want 3", most.Load())
	}
}

func TestEviction(t *testing.T) {
	addr := origin(t, func(http.ResponseWriter, *http.Request) {})
	g := newGate(t, Options{Allow: loopback})
	for i := range maxTenants + 10 {
		ref := alice
		ref.Name = atoll.ScriptName(fmt.Sprint(i))
		if _, err := g.tenant(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(g.tenants); n != maxTenants {
		t.Errorf("%d tenants, want %d", n, maxTenants)
	}
	if g.tenants[atoll.ScriptRef{Account: account, Namespace: "production", Name: "0"}] != nil {
		t.Error("the oldest is still there")
	}
	if status, _, _ := ask(t, g.front(Caller{Script: alice}, "http"), "GET", addr, "/", nil); status != 200 {
		t.Error("no way out any more")
	}
}

func TestWebSocket(t *testing.T) {
	upgrade := func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Path: %s\r\n\r\n", r.URL.Path)
		rw.Flush()
		io.Copy(c, rw)
	}
	plain := origin(t, upgrade)
	port, roots := secureOrigin(t, upgrade) // speaks HTTP/2, which has no Upgrade
	g := newGate(t, Options{Allow: loopback, Roots: roots, Resolver: newZone(map[string][][]string{"example.com": {{"127.0.0.1"}}})})
	for n, c := range []struct{ proto, host string }{{"http", plain}, {"https", "example.com:" + port}} {
		f := g.front(Caller{Script: alice}, c.proto)
		conn, err := net.Dial("tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /chat HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello", c.host)
		br := bufio.NewReader(conn)
		res, err := http.ReadResponse(br, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("X-Path") != "/chat" {
			t.Fatalf("%s: %v, %v", c.proto, res, err)
		}
		echo := make([]byte, 5)
		if _, err := io.ReadFull(br, echo); err != nil || string(echo) != "hello" {
			t.Errorf("%s: %q, %v", c.proto, echo, err)
		}
		conn.Close()
		if r := g.last(n + 1); r.Kind != WebSocket || r.Status != 101 || r.Sent != 5 || r.Received != 5 {
			t.Errorf("%s: record %+v", c.proto, r)
		}
	}
}

func TestAlias(t *testing.T) {
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s %s %q %q", r.Method, r.Host, r.URL.EscapedPath(), body, r.Header.Get("Authorization"), r.Header.Get("Atoll-Service"))
	})
	g := newGate(t, Options{Aliases: map[string]http.Handler{"api.cloudflare.com": api}, Resolver: newZone(nil)})
	f := g.front(Caller{Script: router, API: true}, "https")
	status, _, got := ask(t, f, "PUT", "API.cloudflare.com", "/client/v4/x%2Fy?z", strings.NewReader("body"), "Authorization", "Bearer t", "Atoll-Service", "egress")
	if want := `PUT API.cloudflare.com /client/v4/x%2Fy body "Bearer t" ""`; status != 201 || got != want {
		t.Errorf("got %d %q, want %q", status, got, want)
	}
	if r := g.last(1); r.Kind != API || r.Status != 201 || r.Sent != 4 || r.Received == 0 {
		t.Errorf("record: %+v", r)
	}
	user := g.front(Caller{Script: alice}, "https")
	for _, host := range []string{"api.cloudflare.com", "api.cloudflare.com:443", "api.cloudflare.com."} {
		if status, _, got := ask(t, user, "GET", host, "/", nil); status != 502 || !strings.HasPrefix(got, "DNS lookup failed") {
			t.Errorf("a user Worker: %d %q", status, got)
		}
	}
	if status, _, got := ask(t, f, "GET", "api.cloudflare.com:8443", "/", nil); status != 502 {
		t.Errorf("another port: %d %q", status, got)
	}
}
