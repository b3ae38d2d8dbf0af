package hop_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"atoll.dev/atoll/internal/hop"
)

// peer listens on a Unix socket and hands each connection to serve.
func peer(t *testing.T, serve func(c net.Conn, br *bufio.Reader)) *hop.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c, bufio.NewReader(c))
			}()
		}
	}()
	client := hop.NewClient(path)
	t.Cleanup(func() { l.Close(); client.Close() })
	return client
}

// server is a peer that speaks HTTP by net/http.
func server(t *testing.T, h http.HandlerFunc) *hop.Client {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	client := hop.NewClient(l.Addr().String())
	t.Cleanup(func() { client.Close(); s.Close() })
	return client
}

func readAll(t *testing.T, res *hop.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return string(b)
}

func TestDoSendsTheTargetAsItIs(t *testing.T) {
	client := peer(t, func(c net.Conn, br *bufio.Reader) {
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			for h := line; strings.TrimSpace(h) != ""; {
				if h, err = br.ReadString('\n'); err != nil {
					return
				}
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		}
	})
	for _, target := range []string{"/", "//a//b", "/a%2fb%25", "/?x=%zz", "/a/../b", "*"} {
		res, err := client.Do(t.Context(), &hop.Request{Method: "GET", Target: target, Host: "h"})
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, res); got != "GET "+target+" HTTP/1.1\r\n" {
			t.Errorf("%q was sent as %q", target, got)
		}
	}
}

func TestDoReusesConnections(t *testing.T) {
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d", r.Method, r.RemoteAddr, len(b))
		w.Header().Set("X-Conn", fmt.Sprintf("%p", r.Context().Value(http.LocalAddrContextKey)))
	})
	for _, req := range []*hop.Request{
		{Method: "GET", Target: "/", Host: "h"},
		{Method: "POST", Target: "/", Host: "h"},
		{Method: "PUT", Target: "/", Host: "h", Body: strings.NewReader("abc"), Length: 3},
		{Method: "PUT", Target: "/", Host: "h", Body: strings.NewReader(strings.Repeat("a", 100_000)), Length: -1},
		{Method: "HEAD", Target: "/", Host: "h"},
	} {
		res, err := client.Do(t.Context(), req)
		if err != nil {
			t.Fatalf("%s: %v", req.Method, err)
		}
		if got := readAll(t, res); req.Method != "HEAD" && !strings.HasPrefix(got, req.Method) {
			t.Errorf("%s: %q", req.Method, got)
		}
	}
}

func TestDoFails(t *testing.T) {
	gone := hop.NewClient(filepath.Join(t.TempDir(), "none"))
	if _, err := gone.Do(t.Context(), &hop.Request{Method: "GET", Target: "/", Host: "h"}); !errors.Is(err, hop.ErrRefused) {
		t.Errorf("no socket: %v", err)
	}
	tries := make(chan int, 10)
	client := peer(t, func(c net.Conn, br *bufio.Reader) { br.ReadString('\n'); tries <- 1 })
	if _, err := client.Do(t.Context(), &hop.Request{Method: "GET", Target: "/", Host: "h"}); !errors.Is(err, hop.ErrBroken) {
		t.Errorf("a peer that hangs up: %v", err)
	}
	if len(tries) != 1 {
		t.Errorf("the request was sent %d times", len(tries))
	}
	silent := peer(t, func(c net.Conn, br *bufio.Reader) { io.Copy(io.Discard, br) })
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := silent.Do(ctx, &hop.Request{Method: "GET", Target: "/", Host: "h"}); !errors.Is(err, why) {
		t.Errorf("a cancelled request: %v", err)
	}
}

// A body that breaks off must end the exchange: the peer waits for its rest, and would never answer.
func TestBrokenBodyEndsTheExchange(t *testing.T) {
	why := errors.New("why")
	for _, length := range []int64{-1, 10} {
		closed := make(chan error, 1)
		client := peer(t, func(_ net.Conn, br *bufio.Reader) {
			_, err := io.Copy(io.Discard, br)
			closed <- err
		})
		body := io.MultiReader(strings.NewReader("five!"), iotest.ErrReader(why))
		_, err := client.Do(t.Context(), &hop.Request{Method: "POST", Target: "/", Host: "h", Body: body, Length: length})
		if !errors.Is(err, why) || errors.Is(err, hop.ErrBroken) {
			t.Errorf("length %d: %v", length, err)
		}
		if err := <-closed; err != nil {
			t.Errorf("length %d: the peer: %v", length, err)
		}
	}
}

func TestHeaderValuesCannotSplitARequest(t *testing.T) {
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-A"), "|", r.Header.Get("X-B"))
	})
	res, err := client.Do(t.Context(), &hop.Request{Method: "GET", Target: "/", Host: "h", Header: http.Header{"X-A": {"1\r\nX-B: 2"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, res); got != "1  X-B: 2|" {
		t.Errorf("got %q", got)
	}
}

func TestHugeHeadIsRefused(t *testing.T) {
	client := peer(t, func(c net.Conn, br *bufio.Reader) {
		br.ReadString('\n')
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
		for range 1000 {
			if _, err := fmt.Fprintf(c, "X: %s\r\n", strings.Repeat("a", 1000)); err != nil {
				return
			}
		}
	})
	if _, err := client.Do(t.Context(), &hop.Request{Method: "GET", Target: "/", Host: "h"}); !errors.Is(err, hop.ErrHeadTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestClean(t *testing.T) {
	got := hop.Clean(http.Header{"A": {"1"}, "Connection": {"keep-alive, x-hop"}, "X-Hop": {"2"}, "Transfer-Encoding": {"chunked"},
		"Atoll-Invocation": {"forged"}, "Upgrade": {"h2c"}, "Cookie": {"c"}})
	if len(got) != 2 || got.Get("A") != "1" || got.Get("Cookie") != "c" {
		t.Errorf("got %v", got)
	}
}

func TestTarget(t *testing.T) {
	for uri, want := range map[string]string{"/a//b?c": "/a//b?c", "http://h/a%2f": "/a%2f", "http://h": "/", "http://h?x": "/?x"} {
		if got := hop.Target(&http.Request{RequestURI: uri}); got != want {
			t.Errorf("%s: %q, want %q", uri, got, want)
		}
	}
}

// proxy is a front server that relays to client.
func proxy(t *testing.T, client *hop.Client) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		res, err := client.Do(r.Context(), hop.FromServer(r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		hop.Relay(r.Context(), w, res)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestRelay(t *testing.T) {
	front := proxy(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		w.Header().Set("Atoll-Error", "inside")
		w.WriteHeader(http.StatusTeapot)
		io.Copy(w, r.Body)
	}))
	res, err := http.Post(front.URL+"/x", "text/plain", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusTeapot || string(b) != "body" || !slices.Equal(res.Header["Set-Cookie"], []string{"a=1", "b=2"}) || res.Header.Get("Atoll-Error") != "" {
		t.Errorf("got %d %q %v", res.StatusCode, b, res.Header)
	}
}

// An answer without a content type stays without one: net/http is not to guess.
func TestRelayGuessesNoType(t *testing.T) {
	front := proxy(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = nil
		io.WriteString(w, "<html>looks like a page")
	}))
	res, err := http.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, ok := res.Header["Content-Type"]; ok {
		t.Errorf("Content-Type: %q", got)
	}
}

func TestRelayStreams(t *testing.T) {
	more := make(chan struct{})
	front := proxy(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "one")
		http.NewResponseController(w).Flush()
		<-more
		fmt.Fprint(w, "two")
	}))
	res, err := http.Get(front.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b := make([]byte, 3)
	if _, err := io.ReadFull(res.Body, b); err != nil || string(b) != "one" {
		t.Fatalf("%q, %v", b, err)
	}
	close(more)
	if rest, _ := io.ReadAll(res.Body); string(rest) != "two" {
		t.Errorf("%q", rest)
	}
}

func TestRelayShowsABreak(t *testing.T) {
	front := proxy(t, peer(t, func(c net.Conn, br *bufio.Reader) {
		br.ReadString('\n')
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
	}))
	res, err := http.Get(front.URL)
	if err != nil {
		return // the break may come before the head
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a broken body arrived as if it were whole: %q", b)
	}
}

func TestRelayUpgrade(t *testing.T) {
	front := proxy(t, server(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-A: b\r\n\r\nhello ")
		rw.Flush()
		line, _ := rw.ReadString('\n')
		fmt.Fprint(rw, line)
		rw.Flush()
	}))
	c, err := net.Dial("tcp", front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nworld\n")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("X-A") != "b" {
		t.Fatalf("%v %v", res, err)
	}
	if got, _ := io.ReadAll(br); string(got) != "hello world\n" {
		t.Errorf("got %q", got)
	}
}

func TestCancelReachesThePeer(t *testing.T) {
	gone := make(chan struct{})
	client := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	res, err := client.Do(ctx, &hop.Request{Method: "GET", Target: "/", Host: "h"})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	res.Body.Close()
	<-gone
}
