package assets

import (
	"net/http"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
)

// What is ignored of _redirects and _headers, and why; the lines around it count.
func TestWarnings(t *testing.T) {
	long := "/" + strings.Repeat("x", maxLine)
	for _, c := range []struct{ file, text, warning string }{
		{"_redirects", "/a", "_redirects:1: a rule has two or three words"},
		{"_redirects", "# c\n\n/a /b /c /d", "_redirects:3: a rule has two or three words"},
		{"_redirects", "https://x.example/a /b", "_redirects:1: only paths are allowed here"},
		{"_redirects", "/a ftp://x", "_redirects:1: a URL begins with a slash or with https://"},
		{"_redirects", "/a /b 299", "_redirects:1: the status is 200, 301"},
		{"_redirects", "/* /index.html", "_redirects:1: the rule would redirect for ever"},
		{"_redirects", "/a /b\n/a /c", "_redirects:2: there is a rule for /a already"},
		{"_redirects", "/a https://x.example 200", "_redirects:1: a rule with status 200 has a path"},
		{"_redirects", "/*/* /b", "_redirects:1: /*/* has more than one *"},
		{"_redirects", long + " /b", "_redirects:1: the line is longer than 2000"},
		{"_redirects", strings.Repeat("/a* /b\n", 101), "_redirects:101: there are more than 100 rules with patterns"},
		{"_headers", "X: y", "_headers:1: a path has to come before the header x"},
		{"_headers", "word", "_headers:1: a path that begins with a slash is expected"},
		{"_headers", "/a\n  word", "_headers:2: a header is name: value"},
		{"_headers", "/a\n  : y", "_headers:2: the header has no name"},
		{"_headers", "/a\n  X:", "_headers:2: the header has no value"},
		{"_headers", "/a\n  a b: c", `_headers:2: "a b: c" is not a valid header`},
		{"_headers", "/a\n  Content-Length: 5", "_headers:2: the header content-length is the server's"},
		{"_headers", "/a\n  ! Server", "_headers:2: the header Server is the server's"},
		{"_headers", "/a\n  Atoll-Error: x", "_headers:2: the header atoll-error is the server's"},
		{"_headers", "/a\n/b\n  X: y", "_headers:1: the rule has no headers"},
		{"_headers", "/*/*\n  X: y", "_headers:1: a path has at most one *"},
		{"_headers", "/:splat/*\n  X: y", "_headers:1: a path cannot have both * and :splat"},
		{"_headers", "/:a/:a\n  X: y", "_headers:1: /:a/:a has the same placeholder twice"},
		{"_headers", "https://x.example:8080/*\n  X: y", "_headers:1: ports are not supported"},
	} {
		v := &atoll.Version{Assets: &atoll.Assets{}}
		if c.file == "_headers" {
			v.Assets.Config.Headers = c.text
		} else {
			v.Assets.Config.Redirects = c.text
		}
		warnings, err := Check(v)
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, w := range warnings {
			found += w.String() + "\n"
		}
		if !strings.Contains("\n"+found, "\n"+c.warning) {
			t.Errorf("%.60q: %swant %s", c.text, found, c.warning)
		}
	}
}

// The rules of both files as the manuals explain them; what generated sites have of them, TestEngine compares.
func TestRules(t *testing.T) {
	r := newRig(t, Options{})
	site := r.site(map[string]string{"/index.html": "i", "/a.txt": "a"}, atoll.AssetsConfig{
		Redirects: "/old /a.txt 301\n/blog/* https://blog.example/:splat\n/u/:name /index.html?user=:name 308\n/in/* /a.txt 200\n",
		Headers:   "/*\n  X-Frame-Options: DENY\n  Set-Cookie: a=1\n/a.txt\n  ! Cache-Control\n  Set-Cookie: b=2\nhttps://:sub.example.com/*\n  X-Sub: :sub\n"})
	for _, c := range []struct {
		target, location string
		status           int
	}{
		{"/old?x=1", "/a.txt?x=1", 301}, {"/blog/2026/11", "https://blog.example/2026/11", 302}, {"/u/me?x=1", "/index.html?user=me", 308},
		{"/in/anything", "", 200}, {"/a.txt", "", 200},
	} {
		a := r.ask(site, "GET", c.target)
		if a.status != c.status || a.header.Get("Location") != c.location || a.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %d %v", c.target, a.status, a.header)
		}
	}
	a := r.send(site, &Request{Method: "GET", Target: "/a.txt", Host: "www.example.com:8080"})
	if len(a.header["Set-Cookie"]) != 2 || a.header.Get("Cache-Control") != "" || a.header.Get("X-Sub") != "www" {
		t.Errorf("headers are %v", a.header)
	}
}

func TestTypes(t *testing.T) {
	for name, want := range map[string]string{"/a.HTML": "text/html; charset=utf-8", "/a.b/c": "", "/x.js": "text/javascript; charset=utf-8", "/x.woff2": "font/woff2",
		"/x.wasm": "application/wasm", "/.css": "text/css; charset=utf-8", "/x.": "", "/x.unknown": ""} {
		if got := typeOf(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSuspect(t *testing.T) {
	for value, want := range map[string]bool{"image/png": false, "text/plain": false, "text/plain;charset=UTF-8": false, "text/html": true, "": true,
		"image/png, text/html": true, "application/json": true} {
		h := http.Header{}
		if value != "" {
			h.Set("Content-Type", value)
		}
		if got := Suspect(200, h); got != want {
			t.Errorf("%q: %v", value, got)
		}
	}
	if Suspect(304, http.Header{}) {
		t.Error("a 304 has no type")
	}
}
