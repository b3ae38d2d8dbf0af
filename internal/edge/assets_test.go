package edge

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/assets/assetstest"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/route"
)

// source is the one script there is.
type source struct{ *atoll.Version }

func (source) SetOutbound(context.Context, atoll.ScriptRef, json.RawMessage) error { return nil }

func (s source) Script(_ context.Context, ref atoll.ScriptRef) (*atoll.Script, error) {
	return &atoll.Script{Ref: ref, Active: s.ID, Version: s.Version}, nil
}

// serveSite runs an edge in front of a script of assets alone.
func serveSite(t testing.TB, opts Options, files map[string]string, config atoll.AssetsConfig) *httptest.Server {
	t.Helper()
	lg := slog.New(slog.DiscardHandler)
	blobs, err := durable.OpenBlobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	v := &atoll.Version{ID: "v1", CompatibilityDate: "2026-01-01", Assets: assetstest.Deploy(t, blobs, files, config)}
	d := dispatch.New(lg, source{v}, nil, nil, dispatch.Options{Sites: assets.NewSites(lg, blobs, assets.Options{})})
	opts.Static = d.Static
	e := New(lg, d.Do, opts)
	p, err := route.ParsePattern("*.test/*")
	if err != nil {
		t.Fatal(err)
	}
	e.Publish(route.Compile([]route.Route{{Pattern: p, Script: atoll.ScriptRef{Name: "site"}}}))
	return start(t, e)
}

func TestStatic(t *testing.T) {
	s := serveSite(t, Options{MaxResponse: 1000}, map[string]string{"/index.html": "<h1>hi</h1>", "/long.bin": strings.Repeat("x", 1001)},
		atoll.AssetsConfig{Headers: "/*\n  X-A: b\n  Server: mine\n  ! Cf-Ray\n"})
	for _, c := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET / HTTP/1.1", 200, "<h1>hi</h1>"},
		{"GET /nope HTTP/1.1", 404, ""},
		{"GET http://a.test/index HTTP/1.1", 307, ""},
		{"POST / HTTP/1.1\r\nContent-Length: 3", 405, ""},
		{"GET /long.bin HTTP/1.1", 503, "error code: 1102\n"},
	} {
		res, body := raw(t, s, c.request+"\r\nHost: a.test\r\n\r\nabc")
		if res.StatusCode != c.status || body != c.body {
			t.Errorf("%s: %d %q", c.request, res.StatusCode, body)
		}
		if res.Header.Get("Server") != "atoll" || len(res.Header.Get("Cf-Ray")) != 20 {
			t.Errorf("%s: %v", c.request, res.Header)
		}
		if got := res.Header.Get("X-A"); (got == "b") != (c.status < 500) {
			t.Errorf("%s: X-A is %q", c.request, got)
		}
	}
}

// One connection serves requests with and without bodies, from memory and from files.
func TestStaticKeepsConnections(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 100_000)
	s := serveSite(t, Options{}, map[string]string{"/a.txt": "a", "/big.bin": big}, atoll.AssetsConfig{})
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, q := range []struct{ method, path, header, want string }{
		{"GET", "/a.txt", "", "a"}, {"GET", "/big.bin", "", big}, {"HEAD", "/big.bin", "", ""}, {"GET", "/nope", "", ""},
		{"GET", "/big.bin", "Range: bytes=1000000-\r\n", big[1_000_000:]}, {"GET", "/a.txt", "", "a"},
	} {
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: a.test\r\n%s\r\n", q.method, q.path, q.header)
		res, err := http.ReadResponse(r, &http.Request{Method: q.method})
		if err != nil {
			t.Fatalf("%s %s: %v", q.method, q.path, err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || string(b) != q.want {
			t.Fatalf("%s %s: %d bytes, %v", q.method, q.path, len(b), err)
		}
	}
}

// A client may take as long as it likes for a large file, as long as it reads; one that does not is cut off.
func TestStaticSlowClients(t *testing.T) {
	const stall = 300 * time.Millisecond
	big := strings.Repeat("0123456789abcdef", 1<<20) // more than the buffers of a connection
	s := serveSite(t, Options{Stall: stall}, map[string]string{"/big.bin": big}, atoll.AssetsConfig{})
	dial := func() *net.TCPConn {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		tcp := c.(*net.TCPConn)
		if err := tcp.SetReadBuffer(64 << 10); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "GET /big.bin HTTP/1.1\r\nHost: a.test\r\n\r\n")
		return tcp
	}
	slow := dial()
	res, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	read, begun := int64(0), time.Now()
	for time.Since(begun) < 4*stall {
		n, err := io.CopyN(io.Discard, res.Body, 256<<10)
		if read += n; err != nil {
			t.Fatalf("after %d bytes: %v", read, err)
		}
		<-time.After(stall / 6)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if read += n; err != nil || read != int64(len(big)) {
		t.Errorf("the slow client got %d of %d bytes: %v", read, len(big), err)
	}

	idle := dial()
	<-time.After(4 * stall)
	if n, err := io.Copy(io.Discard, idle); err == nil && n >= int64(len(big)) {
		t.Error("the idle client got everything")
	}
}
