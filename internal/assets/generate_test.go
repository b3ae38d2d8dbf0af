package assets

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// What generated sites are made of.
var (
	somePaths = []string{"/index.html", "/index.html", "/404.html", "/foo.html", "/foo/index.html", "/foo/bar.html", "/foo", "/foo/404.html",
		"/bin", "/bin.txt", "/dir/index.html", "/dir/index", "/dir/sub/404.html", "/dir/sub/page.html", "/both.html", "/both/index.html", "/index",
		"/a b.html", "/[x].html", "/é.html", "/ü/index.html", "/x%20y.txt", "/x%2Fy.html", "/100%.txt", "/foo.html.html", "/.well-known/t.txt",
		"/.html", "/index/index.html", "/style.css", "/app.js", "/^c.txt", "/a'b(c)!.txt", "/a+b.txt", "/a&b=c;d,e$f@g:h.txt", "/~t.txt", "/{y}.html",
		"/deep/er/than/that.html", "/base.html", "/base/index.html", "/base/x.html", "/.html/index.html", "/a|b.txt", "/日本.html", "/UP.HTML"}
	someHeaders = []string{"/*\n  X-A: all\n", "/foo\n  X-A: foo\n  X-B: b1\n", "/:name\n  X-C: :name!\n", "/dir/*\n  ! X-A\n  X-B: :splat\n",
		"https://example.com/*\n  X-C: host\n", "https://:sub.com/:page\n  X-B: :sub :page\n", "/foo*\n  X-A: two\n  X-A: three\n", "# comment\n/x\n\n  bad line\n",
		"/foo.html\n  Cache-Control: public, max-age=60\n  ! ETag\n", "/*/:a\n  X-B: never :a :splat\n", "nonsense\n", "/*.css\n  Content-Type: text/x-css\n",
		"/:a/:b\n  X-C: :b-:a\n", "/index.html\n  X-A: i\n", "/é\n  X-A: e\n", "/a b\n  X-B: ab\n", "/*\n  X-B: more\n", "https://other.com/*\n  X-A: no\n", "/*\n  ! Content-Type\n"}
	someRedirects = []string{"/old /foo\n", "/old/* /new/:splat 301\n", "/p/:id /foo 200\n", "/q /index.html 200\n", "/r/:a/:b /:b/:a?x=1 308\n",
		"/ext https://Other.example/p 303\n", "/ext/* https://other.example/:splat?z=1#f 307\n", "/foo /bin 302\n", "/loop/* /index.html 302\n", "/ /index 302\n",
		"/s /x?y=z#w 301 # comment\n", "/bad\n", "/bad /x 404\n", "/same /same 302\n", "/rw/* /:splat 200\n", "/none/* /nowhere 200\n", "//d //e 302\n", "/é /ü/ 301\n",
		"/h/:x https://:x.example/ 302\n", "/hh/:x https://:x/ 302\n", "/dot /a/../b/./c 302\n", "/dup /a\n/dup /b\n", "/foo.html /dir/ 301\n", "/base/old /base/foo 301\n", "/w/* /foo/:splat 200\n",
		"/port https://example.com:444/x 302\n", "https://example.com/abs /x 302\n", "/self https://example.com/foo 302\n", "/m/*/:splat /x\n"}
	someRules = [][]string{nil, nil, nil, {"/api/*"}, {"/foo"}, {"/*", "!/foo"}, {"/dir/*", "!/dir/sub/*"}, {"/foo/*", "/bin*"}, {"/*.html"}}
	someBases = []string{"", "", "", "", "/", "/base", "/base/", "base/x", "/foo"}
	someDates = []string{"2025-03-31", "2025-04-01", "2026-01-01"}
)

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }

// generate makes a site.
func generate(rnd *rand.Rand) trial {
	tr := trial{files: map[string]string{}, worker: rnd.IntN(3) == 0, date: pick(rnd, someDates)}
	for range 1 + rnd.IntN(12) {
		if p := pick(rnd, somePaths); tr.fits(p) {
			tr.files[p] = "content of " + p
		}
	}
	c := &tr.config
	c.HTMLHandling = pick(rnd, []string{"", "auto-trailing-slash", "force-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "drop-trailing-slash", "none"})
	c.NotFoundHandling = pick(rnd, []string{"", "none", notFoundPage, notFoundPage, notFoundApp})
	c.BasePath = pick(rnd, someBases)
	for _, set := range []struct {
		list []string
		to   *string
	}{{someHeaders, &c.Headers}, {someRedirects, &c.Redirects}} {
		if rnd.IntN(2) == 0 {
			for range 1 + rnd.IntN(6) {
				*set.to += pick(rnd, set.list)
			}
		}
	}
	if tr.worker {
		c.WorkerFirstRules = pick(rnd, someRules)
		c.WorkerFirst = c.WorkerFirstRules == nil && rnd.IntN(8) == 0
	}
	return tr
}

// fits reports whether the files of a directory can have one more of that path: a file is no directory.
func (tr trial) fits(path string) bool {
	for p := range tr.files {
		if strings.HasPrefix(p, path+"/") || strings.HasPrefix(path, p+"/") {
			return false
		}
	}
	return true
}

// request makes a request that has something to do with the site.
func (tr trial) request(rnd *rand.Rand) request {
	q := request{method: http.MethodGet, target: tr.target(rnd)}
	switch rnd.IntN(12) {
	case 0:
		q.method = http.MethodHead
	case 1:
		q.method = http.MethodPost
	}
	if rnd.IntN(4) == 0 {
		q.header = append(q.header, "Sec-Fetch-Mode", "navigate")
	}
	if rnd.IntN(15) == 0 {
		q.header = append(q.header, "Authorization", "Bearer x")
	}
	if rnd.IntN(15) == 0 {
		q.header = append(q.header, "If-None-Match", pick(rnd, []string{"*", `"x"`, `"x", "y"`, `W/"x"`, ""}))
	}
	return q
}

var someTargets = []string{"/", "/old", "/old/a/b", "/p/1", "/p/1/2", "/q", "/r/1/2", "/r/%31/a%2fb", "/ext", "/ext/x/y", "/s", "/loop/x", "/rw/foo", "/rw/dir/", "/none/x",
	"/api/x", "/h/abc", "/h/a%20b", "/h/a%7Cb", "/hh/", "/dot", "/dup", "/same", "/port", "/self", "/d", "//d", "/w/bar", "/abs", "/nope", "/dir/sub/nope", "/a/../foo", "/foo/./bar", "/%2e%2e/foo", "/x/%2E%2e/foo",
	"/foo//bar", "//foo", "/foo/%2f", "/%", "/%zz", "/%c3%28", "/%E9", "/base/old", "/base", "/base/", "/BASE/", "/base//", "/m/a/b", "/foo;x", "/foo:x", "/_image?href=//x", "/[x]", "/{y}", "/^c.txt",
	"/a|b.txt", "/foo?", "/foo.html?a=b&c='d'", "/\\foo", "/foo\\index.html", "/index.html/", "/index/index", "/foo/index/"}

// target makes a request target out of the site's paths, changed in some ways.
func (tr trial) target(rnd *rand.Rand) string {
	if rnd.IntN(3) == 0 {
		return pick(rnd, someTargets)
	}
	paths := slices.Sorted(maps.Keys(tr.files))
	path := pick(rnd, paths)
	path = escape(path, " %")
	if rnd.IntN(2) == 0 {
		path = encodePath(decodePath(path))
	}
	for range rnd.IntN(3) {
		switch rnd.IntN(8) {
		case 0:
			path = strings.TrimSuffix(path, ".html")
		case 1:
			path = strings.TrimSuffix(path, "index.html")
		case 2:
			path = strings.TrimSuffix(path, "/index.html")
		case 3:
			path += pick(rnd, []string{"/", "/index", "/index.html", ".html", "//", "/x", "%2F"})
		case 4:
			path = strings.Replace(path, "o", "%6f", 1)
		case 5:
			path = strings.Replace(path, "/", pick(rnd, []string{"//", "%2F", "/./", "/a/../"}), 1)
		case 6:
			path = strings.TrimSuffix(path, "/")
		case 7:
			path = strings.Replace(path, "/", "/base/", 1)
		}
	}
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if base := strings.Trim(tr.config.BasePath, "/"); base != "" && rnd.IntN(5) > 0 {
		path = "/" + base + path
	}
	if rnd.IntN(6) == 0 {
		path += pick(rnd, []string{"?q=1", "?a=b&c=%20", "?"})
	}
	return path
}
