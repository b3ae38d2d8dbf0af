package hop

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var requests = []string{
	"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	"POST /a%2fb?c=d HTTP/1.1\r\nhost: a.test:80\r\nContent-Length: 3\r\nx-a: 1\r\nX-A: \t2 \r\n\r\nabc",
	"GET //x|y HTTP/1.1\r\nHost: [::1]:8080\r\nPragma: no-cache\r\nConnection: close\r\nEmpty:\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 007\r\nConnection: Keep-Alive\r\n\r\n",
}

// others are left to net/http, whatever it makes of them.
var others = []string{
	"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
	"GET / HTTP/1.1\nHost: a\n\n\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
	"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
	"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999999999999\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-a\r\nX-A: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
}

func TestParseRequestKnowsWhatIsPlain(t *testing.T) {
	for _, s := range requests {
		if _, v := parseRequest([]byte(s)); v != plain {
			t.Errorf("%q is not plain", s)
		}
		end := strings.Index(s, "\r\n\r\n")
		if _, v := parseRequest([]byte(s[:end+3])); v != unfinished {
			t.Errorf("%q is thought to be whole", s[:end+3])
		}
	}
	for _, s := range others {
		if _, v := parseRequest([]byte(s)); v == plain {
			t.Errorf("%q is thought to be plain", s)
		}
	}
}

// What is plain has to mean to net/http what it means to us: of two readers that disagree, one can be lied to.
func FuzzParseRequest(f *testing.F) {
	for _, s := range append(requests, others...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := parseRequest(b)
		if v != plain {
			return
		}
		s := served{template: &http.Request{Proto: "HTTP/1.1"}}
		r := s.request(&h)
		if r == nil {
			return
		}
		in := bufio.NewReaderSize(bytes.NewReader(b), len(b)+16)
		want, err := http.ReadRequest(in)
		if err != nil {
			t.Fatalf("%q: net/http refuses it: %v", b, err)
		}
		if len(b)-in.Buffered() != h.size && want.ContentLength == 0 {
			t.Fatalf("%q: a head of %d bytes, not %d", b, h.size, len(b)-in.Buffered())
		}
		type essence struct {
			Method, Target, Host, URL string
			Header                    http.Header
			Length                    int64
			Close                     bool
		}
		got := essence{r.Method, r.RequestURI, r.Host, r.URL.String(), r.Header, r.ContentLength, r.Close}
		if d := cmp.Diff(essence{want.Method, want.RequestURI, want.Host, want.URL.String(), want.Header, want.ContentLength, want.Close}, got); d != "" {
			t.Fatalf("%q (-net/http +ours):\n%s", b, d)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: b\r\n\r\nhello",
		"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 204 \n\r\n\r\n",
		"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, isHead bool) {
		method := http.MethodGet
		if isHead {
			method = http.MethodHead
		}
		got := readPlain(bufio.NewReaderSize(bytes.NewReader(b), len(b)+16), &Request{Method: method})
		if got == nil {
			return
		}
		want, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(b), len(b)+16), &http.Request{Method: method})
		if err != nil {
			t.Fatalf("%q: net/http refuses it: %v", b, err)
		}
		type essence struct {
			Code   int
			Status string
			Header http.Header
			Length int64
			Close  bool
			Body   string
			Whole  bool
		}
		of := func(r *http.Response) essence {
			body, err := io.ReadAll(r.Body)
			return essence{r.StatusCode, r.Status, r.Header, r.ContentLength, r.Close, string(body), err == nil}
		}
		// net/http takes the Connection header away and keeps what it says in Close.
		e := of(got)
		e.Header = e.Header.Clone()
		w := of(want)
		for _, h := range []http.Header{e.Header, w.Header} {
			h.Del("Connection")
		}
		if d := cmp.Diff(w, e); d != "" {
			t.Fatalf("%q (-net/http +ours):\n%s", b, d)
		}
	})
}

func TestAppendFieldCannotSplit(t *testing.T) {
	for _, c := range [][3]string{
		{"X-A", "b", "X-A: b\r\n"},
		{"X-A", "b\r\nX-B: c\x00", "X-A: b  X-B: c \r\n"},
		{"X-A: y\r\nX-B", "c", ""},
		{"", "c", ""},
		{"X A", "c", ""},
	} {
		if got := string(appendField(nil, c[0], c[1])); got != c[2] {
			t.Errorf("%q: %q becomes %q", c[0], c[1], got)
		}
	}
}
