package assets

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// checkErr fails for an error that is not of the client's making: the bytes are all there is.
func checkErr(t *testing.T, err error) {
	t.Helper()
	if f := fault.Of(err); err != nil && (f == nil || f.Kind == fault.Internal || f.Message == "") {
		t.Errorf("the error is no fault: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"manifest":{"/a":{"hash":"0123456789abcdef","size":1},"/b c":{"hash":"0123456789ABCDEF","size":0}}}`))
	f.Add([]byte(`{"manifest":{"/":{"hash":null,"size":"1"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parseManifest(body)
		checkErr(t, err)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.encode())
		if err != nil || len(again) != len(m) {
			t.Errorf("%s: read back: %v", body, err)
		}
		n := 0
		for _, w := range m.claims() {
			n += len(w.paths)
		}
		if n != len(m) {
			t.Errorf("%s: claims are of %d files", body, n)
		}
	})
}

func FuzzList(f *testing.F) {
	f.Add(encodeList([]entry{{"/a", strings.Repeat("0", 64), 1, "text/plain"}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list, err := decodeList(data); err == nil {
			if again, err := decodeList(encodeList(list)); err != nil || len(again) != len(list) {
				t.Errorf("%s: read back: %v", data, err)
			}
		}
	})
}

func FuzzUpload(f *testing.F) {
	d := newDesk(f)
	session := d.open(user("u"), site{"/a.txt": "aaa", "/b.txt": ""}.manifest(byContent))
	contentType, body := form(part{sha("aaa"), "", "aaa"}, part{sha(""), "text/plain", ""})
	f.Add(contentType, body, true)
	f.Add(contentType, body[:100], false)
	f.Add("multipart/form-data; boundary=x", []byte("--x\r\nContent-Disposition: form-data; name="+sha("aaa")+"\r\n\r\nYWFh\r\n--x--"), true)
	f.Fuzz(func(t *testing.T, contentType string, body []byte, encoded bool) {
		_, err := d.Upload(t.Context(), Put{Account: account, Token: session.Token, ContentType: contentType, Body: bytes.NewReader(body), Base64: encoded})
		checkErr(t, err)
	})
}

func FuzzToken(f *testing.F) {
	d := newDesk(f)
	f.Add(d.open(user("u"), site{"/a.txt": "a"}.manifest(byContent)).Token)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := d.Redeem(t.Context(), user("u"), token)
		if err == nil {
			t.Errorf("redeemed %q", token)
		}
		checkErr(t, err)
	})
}

// FuzzRules reads _redirects and _headers, and uses what it has read.
func FuzzRules(f *testing.F) {
	for _, s := range someRedirects {
		f.Add(s, someHeaders[len(s)%len(someHeaders)], "/old/x")
	}
	f.Add("/* /:splat 200\n", "/*\n  X: :splat\n! X\n", "/a%2f/..//b")
	f.Fuzz(func(t *testing.T, redirectsText, headersText, path string) {
		r, warnings := parseRedirects(redirectsText, true)
		rules, more := parseHeaders(headersText)
		for _, w := range append(warnings, more...) {
			if w.String() == "" {
				t.Error("an empty warning")
			}
		}
		if to, ok := r.find("example.com", cleanPath(path, true)); ok && to.to == "" {
			t.Errorf("%q redirects to nothing", path)
		}
		h := http.Header{"Etag": {"x"}}
		applyHeaders(rules, h, "example.com", cleanPath(path, true))
		for name, values := range h {
			for _, v := range values {
				if strings.ContainsAny(name+v, "\r\n\x00") {
					t.Errorf("header %q: %q", name, v)
				}
			}
		}
	})
}

// FuzzRequest asks a site for odd targets. Whatever they are, there is an answer, and a redirect stays on the site.
func FuzzRequest(f *testing.F) {
	for _, target := range someTargets {
		f.Add("GET", target, "")
	}
	f.Add("HEAD", "/foo", "bytes=0-")
	f.Add("GET", "/foo", "bytes=-3")
	r := newRig(f, Options{})
	files := map[string]string{"/index.html": "i", "/foo.html": "foo", "/dir/index.html": "d", "/404.html": "n", "/%2f.txt": "p", "/ü.html": "u"}
	var sites []*Site
	for _, mode := range []string{"auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none"} {
		sites = append(sites, r.site(files, atoll.AssetsConfig{HTMLHandling: mode, NotFoundHandling: notFoundPage}))
	}
	f.Fuzz(func(t *testing.T, method, target, ranges string) {
		if !strings.HasPrefix(target, "/") || strings.ContainsAny(target, "\r\n") {
			return // no server takes it
		}
		for _, s := range sites {
			w := httptest.NewRecorder()
			req := &Request{Method: method, Target: target, Scheme: "http", Host: "example.com", Header: http.Header{"Range": {ranges}}}
			a, route, err := s.Answer(req, w.Header())
			if err != nil || route != ToAssets {
				t.Fatalf("%q: route %d, %v", target, route, err)
			}
			if err := a.Send(w); err != nil {
				t.Fatalf("%q: %v", target, err)
			}
			if l := w.Header().Get("Location"); l != "" && (!strings.HasPrefix(l, "/") || strings.HasPrefix(l, "//") || strings.HasPrefix(l, `/\`)) {
				t.Errorf("%q redirects to %q", target, l)
			}
		}
	})
}
