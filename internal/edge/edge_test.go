package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/route"
)

// serve runs an edge whose routes all lead to one script that fails with err, and keeps the last call.
func serve(t *testing.T, opts Options, err error) (*httptest.Server, *dispatch.Call) {
	t.Helper()
	var last dispatch.Call
	e := New(slog.New(slog.DiscardHandler), func(_ context.Context, c dispatch.Call) (*dispatch.Reply, error) {
		last = c
		if c.Request.Body != nil {
			if _, err := io.Copy(io.Discard, c.Request.Body); err != nil {
				return nil, err
			}
		}
		return nil, err
	}, opts)
	p, perr := route.ParsePattern("*.test/*")
	if perr != nil {
		t.Fatal(perr)
	}
	e.Publish(route.Compile([]route.Route{{Pattern: p, Script: atoll.ScriptRef{Name: "dispatcher"}}}))
	return start(t, e), &last
}

// start serves an edge as a node does. Of what it returns only the address is of use.
func start(t testing.TB, e *Edge) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := e.Server()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.Serve(hop.Listener{Listener: l})
	}()
	t.Cleanup(func() { f.Close(); <-done })
	return &httptest.Server{URL: "http://" + l.Addr().String(), Listener: l}
}

// raw sends bytes and returns the response.
func raw(t *testing.T, s *httptest.Server, request string) (*http.Response, string) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	fmt.Fprint(c, request)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	return res, string(b)
}

func TestProblems(t *testing.T) {
	cpu := &dispatch.Exception{Name: "Error", Message: "Worker exceeded CPU time limit."}
	for _, c := range []struct {
		name   string
		host   string
		err    error
		accept string
		status int
		want   string
	}{
		{"no route", "other", nil, "", 404, "error code: 1016"},
		{"no script", "a.test", atoll.ScriptRef{Name: "a"}.NotFound(), "", 404, "error code: 1016"},
		{"exception", "a.test", fmt.Errorf("call: %w", &dispatch.Exception{Name: "Error", Message: "secret detail"}), "", 500, "error code: 1101"},
		{"cpu limit", "a.test", fmt.Errorf("call: %w", cpu), "", 503, "error code: 1102"},
		{"loop", "a.test", fmt.Errorf("call: %w", dispatch.ErrTooDeep), "", 500, "error code: 1019"},
		{"long response", "a.test", errLongResponse, "", 503, "error code: 1102"},
		{"ours", "a.test", errors.New("disk on fire"), "", 500, "Internal server error"},
		{"html", "a.test", cpu, "text/html,*/*", 503, "Error 1102"},
		{"json", "a.test", cpu, "application/json", 503, `"error_code":1102`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			s, _ := serve(t, Options{}, c.err)
			res, body := raw(t, s, "GET / HTTP/1.1\r\nHost: "+c.host+"\r\nAccept: "+c.accept+"\r\n\r\n")
			if res.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("got %d %q", res.StatusCode, body)
			}
			if strings.Contains(body, "secret") || strings.Contains(body, "fire") {
				t.Errorf("the page tells too much: %q", body)
			}
			if ray := res.Header.Get("Cf-Ray"); len(ray) != 20 || !strings.HasSuffix(ray, "-ATL") {
				t.Errorf("cf-ray %q", ray)
			}
		})
	}
}

func TestWhatTheWorkerSees(t *testing.T) {
	s, last := serve(t, Options{}, errors.New("x"))
	raw(t, s, "GET //a%2f/../%25?q=\"<`>{} HTTP/1.1\r\nHost: a.test\r\nCf-Connecting-Ip: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n"+
		"Atoll-Invocation: forged\r\nAtoll-Event: forged\r\nConnection: x-hop\r\nX-Hop: 1\r\nX-Mine: 1\r\n\r\n")
	r := last.Request
	if want := "//a%2f/../%25?q=%22%3C%60%3E{}"; r.Target != want {
		t.Errorf("target %q, want %q", r.Target, want)
	}
	for name, want := range map[string]string{"Cf-Connecting-Ip": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-For": "6.6.6.6,127.0.0.1",
		"Atoll-Invocation": "", "Atoll-Event": "", "X-Hop": "", "X-Mine": "1", "X-Forwarded-Proto": "http", "Cf-Visitor": `{"scheme":"http"}`} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if last.Proto != "http" || !strings.Contains(last.Cf, `"httpProtocol":"HTTP/1.1"`) {
		t.Errorf("proto %q, cf %q", last.Proto, last.Cf)
	}
}

func TestLoopsAreCounted(t *testing.T) {
	s, last := serve(t, Options{}, errors.New("x"))
	raw(t, s, "GET / HTTP/1.1\r\nHost: a.test\r\nCDN-Loop: other, atoll; hops=7\r\n\r\n")
	if last.Hops != 7 {
		t.Errorf("%d hops, want 7", last.Hops)
	}
}

func TestBounds(t *testing.T) {
	s, _ := serve(t, Options{MaxBody: 1000, MaxURL: 100, MaxHeader: 4 << 10}, errors.New("x"))
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"long-url":       {"GET /" + strings.Repeat("a", 200) + " HTTP/1.1\r\nHost: a.test\r\n\r\n", 414},
		"declared-body":  {"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2000\r\n\r\n", 413},
		"chunked-body":   {"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" + strings.Repeat("a", 2048) + "\r\n0\r\n\r\n", 413},
		"broken-chunk":   {"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
		"big-headers":    {"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("a", 16<<10) + "\r\n\r\n", 431},
		"connect":        {"CONNECT a.test:80 HTTP/1.1\r\nHost: a.test:80\r\n\r\n", 400},
		"both-lengths":   {"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400},
		"header-newline": {"GET / HTTP/1.1\r\nHost: a.test\r\nX : a\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if res, body := raw(t, s, c.request); res.StatusCode != c.status {
				t.Errorf("got %d %q, want %d", res.StatusCode, body, c.status)
			}
		})
	}
}

func TestStalledBodyIsCutOff(t *testing.T) {
	s, _ := serve(t, Options{Stall: 50 * time.Millisecond}, errors.New("x"))
	res, _ := raw(t, s, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc")
	if res.StatusCode < 400 {
		t.Errorf("got %d", res.StatusCode)
	}
}

// A client sees the end of a response that is too large as a break, never as a whole.
func TestLongResponseIsBrokenOff(t *testing.T) {
	for size, whole := range map[int]bool{0: true, 1000: true, 1001: false, 1 << 20: false} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hop.Relay(r.Context(), newGuard(w, r, Options{MaxResponse: 1000, Stall: time.Minute}), &hop.Response{Response: &http.Response{StatusCode: 200,
				Header: http.Header{}, ContentLength: -1, Body: io.NopCloser(strings.NewReader(strings.Repeat("a", size)))}})
		}))
		var b []byte
		res, err := http.Get(s.URL)
		if err == nil {
			b, err = io.ReadAll(res.Body)
		}
		if (err == nil) != whole || len(b) > 1000 || whole && len(b) != size {
			t.Errorf("of %d bytes got %d, %v", size, len(b), err)
		}
		s.Close()
	}
}

func TestHTTP2(t *testing.T) {
	s, last := serve(t, Options{}, errors.New("x"))
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	req, _ := http.NewRequest("GET", s.URL+"/a%2fb", nil)
	req.Host = "a.test"
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || last.Request.Target != "/a%2fb" || !strings.Contains(last.Cf, `"HTTP/2"`) {
		t.Errorf("got %s, %q, %s", res.Proto, last.Request.Target, last.Cf)
	}
}

func FuzzEscapeTarget(f *testing.F) {
	f.Add("/a\"b")
	f.Fuzz(func(t *testing.T, s string) {
		out := escapeTarget(s)
		if escapeTarget(out) != out {
			t.Errorf("%q is escaped twice", s)
		}
		for i := range len(out) {
			if forbidden(out[i]) {
				t.Fatalf("%q lets %q through", s, out[i])
			}
		}
	})
}
