package assets

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"

	"atoll.dev/atoll/internal/atoll"
)

func TestRange(t *testing.T) {
	for header, want := range map[string]string{
		"bytes=0-0": "0+1 true", "bytes=0-": "0+10 true", "bytes=9-": "9+1 true", "bytes=2-4": "2+3 true", "bytes=5-99": "5+5 true",
		"bytes=-3": "7+3 true", "bytes=-99": "0+10 true", "bytes= 1-2": "1+2 true",
		"bytes=10-": "0+0 true", "bytes=-0": "10+0 true", // nothing of it is there
		"bytes=4-2": "0+0 false", "bytes=a-b": "0+0 false", "bytes=1-2,4-5": "0+0 false", "bytes=-": "0+0 false", "items=0-1": "0+0 false",
		"bytes=0": "0+0 false", "": "0+0 false", "bytes=99999999999999999999-": "0+0 false", "bytes=+1-2": "0+0 false", "bytes=--1": "0+0 false",
	} {
		start, n, ok := parseRange([]string{header}, 10)
		if got := fmt.Sprintf("%d+%d %v", start, n, ok); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}

func TestAccepted(t *testing.T) {
	for _, c := range []struct {
		header string
		can    Codings
		want   coding
	}{
		{"gzip, deflate, br, zstd", All, zstandard}, {"gzip, deflate, br, zstd", Gzip, gzipped}, {"gzip;q=1, zstd;q=0.5", All, gzipped},
		{"zstd;q=0, gzip", All, gzipped}, {"gzip; q=0", All, plain}, {"br", All, plain}, {"identity", All, plain}, {"", All, plain},
		{"*", All, plain}, {"GZIP", All, gzipped}, {"x-gzip", All, gzipped}, {"gzip;q=x", All, plain}, {"gzip;q=0.001", Gzip, gzipped},
	} {
		if got := accepted([]string{c.header}, c.can); got != c.want {
			t.Errorf("%q: %d, want %d", c.header, got, c.want)
		}
	}
}

func TestCodings(t *testing.T) {
	r := newRig(t, Options{})
	text := strings.Repeat("some text ", 300)
	site := r.site(map[string]string{"/a.txt": text, "/short.txt": "short", "/image.png": text, "/packed.js": text, "/exact.js": text}, atoll.AssetsConfig{
		Headers: "/packed.js\n  Content-Encoding: br\n/exact.js\n  Cache-Control: no-transform\n"})
	for _, c := range []struct {
		path, accept string
		can          Codings
		coding       string
	}{
		{"/a.txt", "gzip", All, "gzip"}, {"/a.txt", "zstd, gzip", All, "zstd"}, {"/a.txt", "zstd, gzip", Gzip, "gzip"}, {"/a.txt", "gzip", Identity, ""},
		{"/a.txt", "", All, ""}, {"/short.txt", "gzip", All, ""}, {"/image.png", "gzip", All, ""}, {"/packed.js", "gzip", All, "br"}, {"/exact.js", "gzip", All, ""},
	} {
		a := r.send(site, &Request{Method: "GET", Target: c.path, Codings: c.can}, "Accept-Encoding", c.accept)
		if got := a.header.Get("Content-Encoding"); got != c.coding || a.status != 200 {
			t.Errorf("%s for %q is %d in %q", c.path, c.accept, a.status, got)
		}
		weak := strings.HasPrefix(a.header.Get("Etag"), "W/")
		body := io.Reader(strings.NewReader(a.body))
		var err error
		switch c.coding {
		case "gzip":
			body, err = gzip.NewReader(body)
		case "zstd":
			body, err = zstd.NewReader(body)
		default:
			if weak {
				t.Errorf("%s for %q: ETag %s", c.path, c.accept, a.header.Get("Etag"))
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(body); err != nil || string(got) != text || !weak || a.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s for %q: %d bytes, %v, %v", c.path, c.accept, len(got), err, a.header)
		}
	}
	a := r.send(site, &Request{Method: "GET", Target: "/a.txt", Codings: All}, "Accept-Encoding", "gzip", "Range", "bytes=0-3")
	if a.status != 206 || a.body != "some" || a.header.Get("Content-Encoding") != "" || a.header.Get("Content-Range") != "bytes 0-3/3000" {
		t.Errorf("a part: %d %q %v", a.status, a.body, a.header)
	}
}

// What is in memory stays within its bound, what is used stays in memory, and what is not there any more is an error.
func TestMemory(t *testing.T) {
	r := newRig(t, Options{Memory: 20_000, Files: 30})
	files := map[string]string{}
	for i := range 30 {
		files[fmt.Sprintf("/f%d.bin", i)] = fmt.Sprintf("%d ", i) + strings.Repeat("x", 2000)
	}
	site := r.site(files, atoll.AssetsConfig{})
	for round := range 3 {
		for path, want := range files {
			if a := r.ask(site, "GET", path); a.body != want {
				t.Fatalf("%s: %d bytes", path, len(a.body))
			}
			if a := r.ask(site, "GET", "/f0.bin"); round > 0 && a.header.Get("Cf-Cache-Status") != "HIT" {
				t.Errorf("what is used all the time was thrown out")
			}
		}
		if r.cache.used > 20_000 || len(r.cache.items) != len(r.cache.ring) || len(r.cache.items) < 5 {
			t.Errorf("%d bytes in %d items, %d in the ring", r.cache.used, len(r.cache.items), len(r.cache.ring))
		}
	}

	before := len(r.sites)
	other := r.version(files, atoll.AssetsConfig{})
	if _, err := r.Site(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if len(r.sites) != before || r.sites[other.ID] == nil {
		t.Errorf("%d sites of %d files are ready", len(r.sites), r.files)
	}
	r.Forget(other.ID)
	if r.files != 0 {
		t.Errorf("%d files of no site", r.files)
	}

	lost := r.site(map[string]string{"/a.txt": "lost"}, atoll.AssetsConfig{})
	if err := r.blobs.Delete(lost.files["/a.txt"].hash); err != nil {
		t.Fatal(err)
	}
	if _, _, err := lost.Answer(&Request{Method: "GET", Target: "/a.txt", Scheme: "http", Host: "x"}, http.Header{}); err == nil {
		t.Error("served what is not there")
	}
	gone := r.version(nil, atoll.AssetsConfig{})
	if err := r.blobs.Delete(gone.Assets.Manifest); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Site(t.Context(), gone); err == nil {
		t.Error("loaded a site whose list is not there")
	}
}

// Many at once ask for a site that is not loaded, and for files that are not in memory.
func TestConcurrent(t *testing.T) {
	r := newRig(t, Options{Memory: 50_000})
	files := map[string]string{}
	for i := range 20 {
		files[fmt.Sprintf("/f%d.txt", i)] = strings.Repeat(fmt.Sprintf("%d ", i), 2000)
	}
	v := r.version(files, atoll.AssetsConfig{})
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 100 {
				path := fmt.Sprintf("/f%d.txt", (i+j)%20)
				s, err := r.Site(t.Context(), v)
				if err != nil {
					t.Error(err)
					return
				}
				w := httptest.NewRecorder()
				a, _, err := s.Answer(&Request{Method: "GET", Target: path, Scheme: "http", Host: "x", Header: http.Header{"Accept-Encoding": {"gzip"}}, Codings: Codings(j % 2)}, w.Header())
				if err != nil {
					t.Error(err)
					return
				}
				a.Send(w)
				if j%2 == 0 && w.Body.String() != files[path] {
					t.Errorf("%s: %d bytes", path, w.Body.Len())
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkAnswer(b *testing.B) {
	r := newRig(b, Options{})
	site := r.site(map[string]string{"/index.html": strings.Repeat("x", 500), "/dir/page.html": "p"}, atoll.AssetsConfig{})
	req := &Request{Method: "GET", Target: "/dir/page", Scheme: "http", Host: "example.com", Header: http.Header{"Accept-Encoding": {"gzip"}}, Codings: All}
	for b.Loop() {
		a, _, err := site.Answer(req, make(http.Header, 8))
		if err != nil || a.Status != 200 {
			b.Fatal(a, err)
		}
	}
}
