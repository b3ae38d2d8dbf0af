package hop

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// handle answers in every way there is, by the path.
func handle(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	w.Header()["Content-Type"] = []string{"text/plain"}
	switch r.URL.Path {
	case "/hello":
		io.WriteString(w, "hello")
	case "/declared":
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "he")
		io.WriteString(w, "llo")
	case "/long":
		for range 3000 {
			io.WriteString(w, "0123456789")
		}
	case "/large":
		w.Header().Set("Content-Length", "300000")
		for range 3 {
			w.Write(make([]byte, 100_000))
		}
	case "/large-chunk":
		w.Write(make([]byte, 300_000))
		w.Write(make([]byte, 100))
	case "/flush":
		io.WriteString(w, "a")
		c.Flush()
		io.WriteString(w, "b")
		c.Flush()
		w.Header().Set("Too", "late")
	case "/flush-first":
		c.Flush()
	case "/nothing":
	case "/no-content":
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusNoContent)
		if _, err := io.WriteString(w, "x"); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic("a body was written")
		}
	case "/not-modified":
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(http.StatusNotModified)
	case "/header-later":
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("Too", "late")
	case "/too-much":
		w.Header().Set("Content-Length", "3")
		io.WriteString(w, "abc")
		if _, err := io.WriteString(w, "def"); !errors.Is(err, http.ErrContentLength) {
			panic("more than declared was written")
		}
	case "/too-little":
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "abc")
	case "/abort":
		panic(http.ErrAbortHandler)
	case "/abort-late":
		io.WriteString(w, "a")
		c.Flush()
		panic(http.ErrAbortHandler)
	case "/abort-length":
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "abc")
		c.Flush()
		panic(http.ErrAbortHandler)
	case "/close":
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye")
	case "/hints":
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "hinted")
	case "/split":
		w.Header().Set("X-A", "b\r\nX-Forged: c")
		w.Header()["X-B: d\r\nX-Forged"] = []string{"e"}
		io.WriteString(w, "whole")
	case "/echo":
		b, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %d %q %v", r.Method, r.RequestURI, r.ContentLength, b, err)
	case "/hijack":
		conn, rw, err := c.Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		more, _ := rw.Peek(rw.Reader.Buffered())
		fmt.Fprintf(rw, "HTTP/1.1 200 Fine\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(more), more)
		rw.Flush()
	default: // the body is left
		io.WriteString(w, "left")
	}
}

// listen starts two servers of one handler, a Front and net/http's.
func listen(t *testing.T, h http.HandlerFunc) (front *Front, fronts, plains string) {
	t.Helper()
	start := func(serve func(net.Listener) error, end func() error) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			serve(Listener{l})
		}()
		t.Cleanup(func() { end(); <-done })
		return l.Addr().String()
	}
	quiet := log.New(io.Discard, "", 0)
	front = NewFront(&http.Server{Handler: h, ErrorLog: quiet})
	server := &http.Server{Handler: h, ErrorLog: quiet}
	return front, start(front.Serve, front.Close), start(server.Serve, server.Close)
}

// ask sends bytes, half-closes nothing, and returns what comes back up to the connection's end, or until nothing more does.
func ask(t *testing.T, address, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, request)
	var told strings.Builder
	br := bufio.NewReader(c)
	method, _, _ := strings.Cut(request, " ")
	for range 3 {
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintf(&told, "the end\n")
			break
		}
		res.Header.Del("Date")
		b, err := io.ReadAll(res.Body)
		fmt.Fprintf(&told, "%s %v %d %v %q\n", res.Status, res.TransferEncoding, res.ContentLength, res.Header, b)
		if err != nil && res.StatusCode < 400 { // what follows a refusal may or may not have been read by then
			fmt.Fprintf(&told, "broken off\n")
		}
		if res.StatusCode < 200 {
			continue
		}
		if res.Close {
			fmt.Fprintf(&told, "last\n")
			break
		}
		method = http.MethodGet
		io.WriteString(c, "GET /close HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	return told.String()
}

func TestFrontAnswersAsNetHTTPDoes(t *testing.T) {
	_, front, plain := listen(t, handle)
	var asked []string
	for _, path := range []string{"/hello", "/declared", "/long", "/large", "/large-chunk", "/flush", "/flush-first", "/nothing", "/no-content",
		"/not-modified", "/header-later", "/too-much", "/too-little", "/abort", "/abort-late", "/abort-length", "/close",
		"/hints", "/split", "/hijack", "/echo"} {
		for _, method := range []string{"GET", "HEAD"} {
			asked = append(asked, method+" "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
		}
	}
	body := strings.Repeat("b", 100_000)
	asked = append(asked,
		"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
		"POST /echo?a=%20 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
		"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+body,
		"POST /left HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"POST /hijack HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nmore",
		"GET /echo HTTP/1.0\r\n\r\n",
		"GET http://b/echo HTTP/1.1\r\nHost: a\r\n\r\n",
	)
	asked = append(asked, others...)
	for _, s := range asked {
		if strings.HasPrefix(s, "PRI") || strings.Contains(s, "Expect") || strings.HasPrefix(s, "POST / ") && strings.Contains(s, "999") {
			continue // they wait for more
		}
		want, got := ask(t, plain, s), ask(t, front, s)
		if strings.Contains(s, "/split") {
			// net/http writes a name that is none as it is; the values are the same.
			if strings.Contains(got, "X-Forged:[") || !strings.Contains(got, "X-A:[b  X-Forged: c]") {
				t.Errorf("%.100q: %s", s, got)
			}
			continue
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%.100q (-net/http +front):\n%.2000s", s, d)
		}
	}
}

func TestFrontTakesRequestsInARow(t *testing.T) {
	_, front, _ := listen(t, handle)
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /left HTTP/1.1\r\nHost: a\r\n"+
		"Content-Length: 3\r\n\r\nabcPOST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
	br := bufio.NewReader(c)
	for _, want := range []string{"hello", `POST /echo 3 "abc" <nil>`, "left", `POST /echo -1 "x" <nil>`, "hello"} {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != want || err != nil {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
}

func TestFrontTellsOfAClientThatGoes(t *testing.T) {
	for name, request := range map[string]string{
		"without-body":  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"after-body":    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
		"not-plain":     "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
		"after-another": "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			began, ended := make(chan struct{}), make(chan struct{})
			_, front, _ := listen(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hello" {
					return
				}
				io.Copy(io.Discard, r.Body)
				close(began)
				<-r.Context().Done()
				close(ended)
			})
			c, err := net.Dial("tcp", front)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(c, request)
			<-began
			c.Close()
			<-ended
		})
	}
}

// A request that is watched, and answered after all, leaves its connection as it was.
func TestFrontEndsItsWatch(t *testing.T) {
	_, front, _ := listen(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(watchAfter + 3*watchPeriod):
		case <-r.Context().Done():
			panic("nobody has gone")
		}
	})
	c, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	br := bufio.NewReader(c)
	for range 2 {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 200 {
			t.Fatal(err)
		}
	}
}

func TestFrontShutsDown(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	f, front, _ := listen(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(began)
			<-end
		}
	})
	idle, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	idleReader := bufio.NewReader(idle)
	if _, err := http.ReadResponse(idleReader, nil); err != nil {
		t.Fatal(err)
	}
	busy, err := net.Dial("tcp", front)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	io.WriteString(busy, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-began
	down := make(chan error, 1)
	go func() { down <- f.Shutdown(context.Background()) }()
	if _, err := idleReader.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case err := <-down:
		t.Errorf("shut down with a request under way: %v", err)
	default:
	}
	close(end)
	res, err := http.ReadResponse(bufio.NewReader(busy), nil)
	if err != nil || !res.Close {
		t.Errorf("the last answer: %v, %v", res, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", front); err == nil {
		c.Close()
		t.Error("a connection was made after the end")
	}
}

func TestFrontClosesWhatIsIdle(t *testing.T) {
	f := NewFront(&http.Server{Handler: http.HandlerFunc(handle), IdleTimeout: time.Millisecond, ReadHeaderTimeout: time.Millisecond})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go f.Serve(Listener{l})
	defer f.Close()
	for _, request := range []string{"", "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HT"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		io.WriteString(c, request)
		io.Copy(io.Discard, c) // ends
	}
}

// A client that sends before it is answered loses nothing of it when its connection is taken over, however much came with its
// request.
func TestHijackKeepsWhatWasReadAhead(t *testing.T) {
	for _, n := range []int{0, 1, 4095, 4096, 4097, 7000, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			sent := make([]byte, n)
			for i := range sent {
				sent[i] = byte(i * 7 / 5)
			}
			_, front, plain := listen(t, func(w http.ResponseWriter, r *http.Request) {
				conn, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(20 * time.Second))
				ahead := io.LimitReader(rw.Reader, int64(rw.Reader.Buffered()))
				io.CopyN(rw, io.MultiReader(ahead, conn), int64(n))
				rw.Flush()
			})
			for name, to := range map[string]struct{ address, fields string }{
				"front": {front, ""}, "front-upgrade": {front, "Upgrade: x\r\nConnection: upgrade\r\n"}, "net/http": {plain, ""},
			} {
				c, err := net.Dial("tcp", to.address)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(20 * time.Second))
				c.Write(append([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+to.fields+"\r\n"), sent...))
				if got, err := io.ReadAll(c); !bytes.Equal(got, sent) {
					t.Errorf("%s: %d of %d bytes came, %v", name, len(got), n, err)
				}
			}
		})
	}
}
