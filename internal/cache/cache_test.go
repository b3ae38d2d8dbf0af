package cache

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rig is a Store behind a server, as the runtime sees it, with a clock of its own.
type rig struct {
	testing.TB
	st  *Store
	now atomic.Pointer[time.Time]
	url string
}

func newRig(t testing.TB, opts Options) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir(), opts)
}

func newRigIn(t testing.TB, dir string, opts Options) *rig {
	t.Helper()
	r := &rig{TB: t}
	r.now.Store(&noon)
	opts.Now = func() time.Time { return *r.now.Load() }
	st, err := Open(nil, filepath.Join(dir, "cache"), opts)
	if err != nil {
		t.Fatal(err)
	}
	r.st = st
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		who := q.Header.Get("Test-Owner")
		account, _, _ := strings.Cut(who, "/")
		st.Serve(w, q, Owner{Account: account, ID: who}, "http://example.com"+q.RequestURI)
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *rig) advance(d time.Duration) {
	now := r.now.Load().Add(d)
	r.now.Store(&now)
}

func (r *rig) do(method, who, path, headerLines string, body io.Reader) (*http.Response, string) {
	r.Helper()
	q, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		r.Fatal(err)
	}
	q.Header = headers(headerLines)
	q.Header.Set("Test-Owner", who)
	q.Header.Set("Accept-Encoding", "identity")
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		r.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		r.Error(err)
	}
	return res, string(b)
}

// put stores a response of the given header lines and body, and returns the status.
func (r *rig) put(who, path, request, response, body string) int {
	r.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n", len(body))
	headers(response).Write(&b)
	res, _ := r.do("PUT", who, path, request, strings.NewReader(b.String()+"\r\n"+body))
	return res.StatusCode
}

// get is a match: the body of a hit, "-" for a miss; other statuses come before the body.
func (r *rig) get(who, path, request string) string {
	r.Helper()
	res, body := r.do("GET", who, path, request, nil)
	switch {
	case res.Header.Get("Cf-Cache-Status") == "MISS" && res.StatusCode == 504:
		return "-"
	case res.Header.Get("Cf-Cache-Status") != "HIT":
		r.Errorf("%s: status %q", path, res.Header.Get("Cf-Cache-Status"))
	case res.StatusCode != 200:
		return strconv.Itoa(res.StatusCode) + " " + body
	}
	return body
}

func (r *rig) want(who, path, request, want string) {
	r.Helper()
	if got := r.get(who, path, request); got != want {
		r.Errorf("%s %s with %q: %.60q, want %.60q", who, path, request, got, want)
	}
}

// check compares what the Store counts with what it has, and with the files that there are.
func (r *rig) check() {
	r.Helper()
	s := r.st
	s.mu.Lock()
	defer s.mu.Unlock()
	var total use
	used, files := map[string]int64{}, []string{}
	for o, sh := range s.shares {
		var mine use
		n := 0
		for key, list := range sh.entries {
			for _, e := range list {
				n++
				mine.add(e.size)
				if e.key != key || e.share != sh || e.length != int64(len(e.body)) && e.file == "" {
					r.Errorf("%s: entry %+v", key, e)
				}
				if e.file != "" {
					files = append(files, e.file)
					if st, err := os.Stat(s.path(e.file)); err != nil || st.Size() != e.length || e.size.disk != e.length {
						r.Errorf("file of %d bytes, counted as %d: %v, %v", e.length, e.size.disk, st, err)
					}
				}
			}
		}
		if n != sh.small.Len()+sh.large.Len() || mine != sh.used || sh.writing != 0 || n == 0 {
			r.Errorf("%v: %d entries, %d listed, %d written, use %+v counted as %+v", o, n, sh.small.Len()+sh.large.Len(), sh.writing, mine, sh.used)
		}
		total.add(mine)
		used[o.Account] += mine.sum()
	}
	if total != s.total || !maps.Equal(used, s.used) {
		r.Errorf("use %+v counted as %+v, %v as %v", total, s.total, used, s.used)
	}
	if s.total.memory > s.opts.Memory || s.total.disk > s.opts.Disk {
		r.Errorf("use %+v is over %+v", s.total, s.opts)
	}
	there, err := os.ReadDir(s.dir)
	var names []string
	for _, d := range there {
		names = append(names, d.Name())
	}
	slices.Sort(files)
	slices.Sort(names)
	if err != nil || !slices.Equal(files, names) {
		r.Errorf("files %v, there are %v, %v", files, names, err)
	}
}

func TestPutMatchDelete(t *testing.T) {
	for _, n := range []int{0, 5, maxInline, maxInline + 1, 3*spillBy + 7} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			r := newRig(t, Options{})
			body := strings.Repeat("x", n)
			r.want("a", "/p?q", "", "-")
			if got := r.put("a", "/p?q", "", "Cache-Control: max-age=60 | X-A: 1 | X-A: 2 | Age: 5", body); got != 204 {
				t.Fatal(got)
			}
			r.check()
			r.advance(10 * time.Second)
			res, got := r.do("GET", "a", "/p?q", "Cache-Control: only-if-cached", nil)
			if res.StatusCode != 200 || got != body || res.ContentLength != int64(n) {
				t.Errorf("%d, %d bytes of %d", res.StatusCode, len(got), res.ContentLength)
			}
			for name, want := range map[string][]string{"X-A": {"1", "2"}, "Age": {"15"}, "Cf-Cache-Status": {"HIT"}, "Content-Type": nil,
				"Date": {noon.Format(http.TimeFormat)}, "Cache-Control": {"max-age=60"}} {
				if !slices.Equal(res.Header[name], want) {
					t.Errorf("%s: %q", name, res.Header[name])
				}
			}
			r.want("a", "/p", "", "-")
			r.want("b", "/p?q", "", "-")
			r.want("a", "/p?q", "Cf-Cache-Namespace: n", "-")
			r.want("a", "/p?q", "Cf-Cache-Namespace:", "-")
			for _, c := range []struct {
				who, request string
				status       int
			}{{"b", "", 404}, {"a", "Cf-Cache-Namespace: n", 404}, {"a", "", 200}, {"a", "", 404}} {
				if res, _ := r.do("PURGE", c.who, "/p?q", c.request, nil); res.StatusCode != c.status {
					t.Errorf("purge of %s with %q: %d", c.who, c.request, res.StatusCode)
				}
			}
			r.want("a", "/p?q", "", "-")
			r.check()
		})
	}
}

func TestExpiry(t *testing.T) {
	r := newRig(t, Options{})
	for _, path := range []string{"/read", "/purged", "/swept"} {
		r.put("a", path, "", "Cache-Control: max-age=60 | Age: 10", "x")
	}
	r.advance(50*time.Second - 1)
	r.want("a", "/read", "", "x")
	r.advance(1)
	r.want("a", "/read", "", "-")
	if res, _ := r.do("PURGE", "a", "/purged", "", nil); res.StatusCode != 404 {
		t.Errorf("purge of what is not fresh: %d", res.StatusCode)
	}
	r.st.sweep()
	r.check()
	if len(r.st.shares) != 0 {
		t.Error("something is left")
	}
}

func TestConditions(t *testing.T) {
	for _, size := range []int{10, maxInline + 10} {
		r := newRig(t, Options{})
		body := "0123456789" + strings.Repeat(".", size-10)
		modified := noon.Add(-time.Hour).Format(http.TimeFormat)
		r.put("a", "/", "", `ETag: "v1" | Content-Type: text/x | Last-Modified: `+modified, body)
		total := strconv.Itoa(size)
		for _, c := range []struct{ request, want string }{
			{`If-None-Match: "v1"`, "304 "}, {`If-None-Match: W/"v1"`, "304 "}, {`If-None-Match: "v0", "v1"`, "304 "}, {`If-None-Match: *`, "304 "},
			{`If-None-Match: "v2"`, body},
			{"If-Modified-Since: " + modified, "304 "}, {"If-Modified-Since: " + noon.Format(http.TimeFormat), "304 "},
			{"If-Modified-Since: " + noon.Add(-2*time.Hour).Format(http.TimeFormat), body}, {"If-Modified-Since: yesterday", body},
			{`If-None-Match: "v2" | If-Modified-Since: ` + modified, body},
			{`If-Match: "v2"`, body}, {"If-Unmodified-Since: " + noon.Add(-2*time.Hour).Format(http.TimeFormat), body},
			{"Range: bytes=2-4", "206 234"}, {"Range: bytes=-" + total, "206 " + body}, {"Range: bytes=0-0", "206 0"}, {"Range: lines=1", "416 "},
			{"Range: bytes=" + total + "-", "416 "},
			{`Range: bytes=2-4 | If-Range: "v1"`, "206 234"}, {`Range: bytes=2-4 | If-Range: "v2"`, body},
			{`Range: bytes=2-4 | If-None-Match: "v1"`, "304 "},
		} {
			r.want("a", "/", c.request, c.want)
		}
		res, _ := r.do("GET", "a", "/", "Range: bytes=2-4", nil)
		if got := res.Header.Get("Content-Range"); got != "bytes 2-4/"+total || res.ContentLength != 3 || res.Header.Get("Content-Type") != "text/x" {
			t.Errorf("range: %q, %v", got, res.Header)
		}
		res, several := r.do("GET", "a", "/", "Range: bytes=0-1,4-5", nil)
		if res.StatusCode != 206 || !strings.HasPrefix(res.Header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(several, "\r\n\r\n01\r\n") {
			t.Errorf("ranges: %d %v %q", res.StatusCode, res.Header, several)
		}
	}
}

// A body with an encoding of its own is bytes like others; statuses beside 200 know no conditions.
func TestEncodedAndOther(t *testing.T) {
	r := newRig(t, Options{})
	r.put("a", "/gzip", "", "Content-Encoding: gzip", "zip")
	if res, got := r.do("GET", "a", "/gzip", "", nil); got != "zip" || res.ContentLength != 3 || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%q %v", got, res.Header)
	}
	for _, status := range []int{404, 204, 302, 504} {
		body := strings.Repeat("b", status%200) // 204: too much, which breaks off
		if status == 204 {
			body = ""
		}
		text := fmt.Sprintf("HTTP/1.1 %d Whatever\r\nEtag: \"v\"\r\nCache-Control: max-age=9\r\nLocation: /x\r\n\r\n%s", status, body)
		path := "/" + strconv.Itoa(status)
		if res, _ := r.do("PUT", "a", path, "", strings.NewReader(text)); res.StatusCode != 204 {
			t.Error(status, res.StatusCode)
		}
		r.want("a", path, `If-None-Match: "v" | Range: bytes=0-1`, fmt.Sprintf("%d %s", status, body))
	}
	r.check()
}

func TestVariants(t *testing.T) {
	r := newRig(t, Options{})
	for _, lang := range []string{"de", "en"} {
		r.put("a", "/", "Accept-Language: "+lang, "Vary: Accept-Language | Cache-Control: max-age=60", "in "+lang)
	}
	r.put("a", "/", "Accept-Language: de", "Vary: Accept-Language | Cache-Control: max-age=60", "in newer de")
	r.want("a", "/", "Accept-Language: de", "in newer de")
	r.want("a", "/", "Accept-Language: en", "in en")
	r.want("a", "/", "Accept-Language: fr", "-")
	r.want("a", "/", "", "-")
	for i := range 3 * maxVariants {
		r.put("a", "/", fmt.Sprintf("Accept-Language: x%d", i), "Vary: Accept-Language | Cache-Control: max-age=60", "x")
	}
	r.check()
	if n := len(r.st.shares[Owner{"a", "a"}].entries["\x01http://example.com/"]); n != maxVariants {
		t.Errorf("%d variants", n)
	}
	r.put("a", "/", "", "Cache-Control: max-age=60", "for all")
	r.want("a", "/", "Accept-Language: x95", "for all")
	if res, _ := r.do("PURGE", "a", "/", "", nil); res.StatusCode != 200 {
		t.Error(res.StatusCode)
	}
	r.want("a", "/", "Accept-Language: x95", "-")
	r.check()
}

func TestNotStored(t *testing.T) {
	r := newRig(t, Options{})
	r.put("a", "/", "", "", "old")
	for _, response := range []string{"Set-Cookie: a=b", "Cache-Control: no-store", "Vary: *", "Content-Length: 7"} {
		if got := r.put("a", "/", "", response, "new"); got != 413 {
			t.Errorf("%q: %d", response, got)
		}
	}
	// Bodies that are shorter or longer than they say, and one that never ends.
	for _, text := range []string{"Content-Length: 9\r\n\r\nshort", "Content-Length: 2\r\n\r\nlong", fmt.Sprintf("Content-Length: %d\r\n\r\n", maxObject+1),
		fmt.Sprintf("Content-Length: 1\r\n\r\n%s", strings.Repeat("x", 2*maxInline))} {
		if res, _ := r.do("PUT", "a", "/", "", strings.NewReader("HTTP/1.1 200 OK\r\n"+text)); res.StatusCode != 413 {
			t.Errorf("%.50q: %d", text, res.StatusCode)
		}
	}
	r.want("a", "/", "", "old")
	r.check()
}

// A put whose connection breaks off leaves nothing, and no room taken.
func TestBrokenPut(t *testing.T) {
	for _, n := range []int{10, maxInline + 10, 2*spillBy + 10} {
		r := newRig(t, Options{})
		head := "HTTP/1.1 200 OK\r\n\r\n"
		q := httptest.NewRequest("PUT", "/", io.MultiReader(strings.NewReader(head), bytes.NewReader(make([]byte, n)), broken{}))
		w := httptest.NewRecorder()
		r.st.Serve(w, q, Owner{"a", "a"}, "http://example.com/")
		if w.Code != 413 {
			t.Errorf("%d bytes: %d", n, w.Code)
		}
		r.want("a", "/", "", "-")
		r.check()
		if len(r.st.shares) != 0 {
			t.Error("its owner is still known")
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// An entry that is being read may go meanwhile.
func TestDropWhileReading(t *testing.T) {
	r := newRig(t, Options{})
	body := strings.Repeat("x", 8<<20)
	r.put("a", "/", "", "", body)
	q, _ := http.NewRequest("GET", r.url+"/", nil)
	q.Header.Set("Test-Owner", "a")
	res, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	r.do("PURGE", "a", "/", "", nil)
	r.check()
	if got, err := io.ReadAll(res.Body); string(got) != body || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestOpenEmpties(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		if _, err := Open(nil, dir, Options{}); err != nil {
			t.Fatal(err)
		}
		if list, err := os.ReadDir(dir); len(list) != 0 || err != nil {
			t.Errorf("%v %v", list, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "left"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestModel makes random calls from several goroutines under tight bounds. Whatever is found must be the owner's own, and the
// last that was put there by the goroutine, which has the key alone.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := newRig(t, Options{Memory: 200 << 10, Disk: 6 << 20, Owner: 4 << 20, Account: 6 << 20})
	var group sync.WaitGroup
	var hits, misses atomic.Int64
	for g := range 6 {
		rnd := rand.New(rand.NewPCG(seed, uint64(g)))
		who := []string{"a/1", "a/2", "b/1"}[g%3]
		group.Go(func() {
			last := map[string]string{}
			for i := range 300 {
				path := fmt.Sprintf("/%d/%d", g, rnd.IntN(20))
				switch rnd.IntN(5) {
				case 0, 1:
					n := rnd.IntN(20 << 10)
					if rnd.IntN(8) == 0 {
						n = maxInline + rnd.IntN(2<<20)
					}
					body := fmt.Sprintf("%s %d %s", who, i, strings.Repeat("x", n))
					// What is refused for want of room leaves what was there.
					if r.put(who, path, "", "", body) == 204 {
						last[path] = body
					}
				case 2:
					r.do("PURGE", who, path, "", nil)
					delete(last, path)
				default:
					switch got := r.get(who, path, ""); got {
					case "-":
						misses.Add(1)
					case last[path]:
						hits.Add(1)
					default:
						t.Errorf("%s: %.30q, want %.30q", path, got, last[path])
					}
				}
			}
		})
	}
	group.Wait()
	r.check()
	if hits.Load() < 50 || misses.Load() < 50 {
		t.Errorf("%d hits, %d misses", hits.Load(), misses.Load())
	}
}

// A response that is stored and stale at once takes the place of what was there; one that is not stored at all does not.
func TestStaleResponseReplaces(t *testing.T) {
	r := newRig(t, Options{})
	for response, want := range map[string]string{
		"Cache-Control: max-age=0":                     "-",
		"Cache-Control: no-cache, max-age=60":          "-",
		"Cache-Control: max-age=60 | Age: 60":          "-",
		"Expires: 0":                                   "-",
		"Cache-Control: max-age=0 | Vary: Accept":      "-",
		"Cache-Control: no-store, max-age=0":           "old",
		"Cache-Control: private, max-age=0":            "old",
		"Cache-Control: max-age=0 | Set-Cookie: a=b":   "old",
		"Cache-Control: no-cache, no-store, max-age=0": "old",
	} {
		r.put("a/1", "/", "", "Cache-Control: max-age=60", "old")
		r.put("a/1", "/other", "", "Cache-Control: max-age=60", "other")
		if status := r.put("a/1", "/", "", response, "new"); status != 413 {
			t.Errorf("%s: status %d", response, status)
		}
		r.want("a/1", "/", "", want)
		r.want("a/1", "/other", "", "other")
		r.check()
	}
	r.put("a/1", "/", "Accept: a", "Cache-Control: max-age=60 | Vary: Accept", "a")
	r.put("a/1", "/", "Accept: b", "Cache-Control: max-age=60 | Vary: Accept", "b")
	r.put("a/1", "/", "Accept: b", "Cache-Control: max-age=0 | Vary: Accept", "b")
	r.want("a/1", "/", "Accept: a", "a")
	r.want("a/1", "/", "Accept: b", "-")
	r.check()
}

// Whether a Worker serves ranges of what it takes from its cache is not for the cache to say.
func TestAcceptRangesIsTheResponses(t *testing.T) {
	r := newRig(t, Options{})
	r.put("a/1", "/silent", "", "Cache-Control: max-age=60", "body")
	r.put("a/1", "/none", "", "Cache-Control: max-age=60 | Accept-Ranges: none", "body")
	for path, want := range map[string][]string{"/silent": nil, "/none": {"none"}} {
		for _, request := range []string{"", "Range: bytes=0-1", "Range: bytes=9-"} {
			res, _ := r.do("GET", "a/1", path, request, nil)
			if got := res.Header["Accept-Ranges"]; !slices.Equal(got, want) {
				t.Errorf("%s %s: Accept-Ranges %q", path, request, got)
			}
		}
	}
}

// Every Content-Range is one, and what cannot be had has no body.
func TestOddRanges(t *testing.T) {
	r := newRig(t, Options{})
	r.put("a/1", "/full", "", "Cache-Control: max-age=60 | X-Content-Type-Options: nosniff", "0123456789")
	r.put("a/1", "/empty", "", "Cache-Control: max-age=60", "")
	for _, c := range []struct{ path, ranges, want string }{
		{"/full", "bytes=-0", "416 bytes */10 "},
		{"/full", "bytes=-000", "416 bytes */10 "},
		{"/full", "bytes= -0 , -0", "416 bytes */10 "},
		{"/full", "bytes=-0,2-3", "206 bytes 2-3/10 23"},
		{"/full", "bytes=-10", "206 bytes 0-9/10 0123456789"},
		{"/full", "bytes=-05", "206 bytes 5-9/10 56789"},
		{"/full", "bytes=10-", "416 bytes */10 "},
		{"/full", "bytes=a-b", "416 bytes */10 "},
		{"/full", "bytes=3-1", "416 bytes */10 "},
		{"/full", "bites=0-1", "416 bytes */10 "},
		{"/full", "bytes=", "200  0123456789"},
		{"/empty", "bytes=0-0", "200  "},
		{"/empty", "bytes=-5", "200  "},
		{"/empty", "bytes=-0", "200  "},
	} {
		res, body := r.do("GET", "a/1", c.path, "Range: "+c.ranges, nil)
		if got := fmt.Sprint(res.StatusCode, " ", res.Header.Get("Content-Range"), " ", body); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.path, c.ranges, got, c.want)
		}
	}
}
