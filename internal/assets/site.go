package assets

import (
	"net/http"
	"net/url"
	"strings"
)

// Site is the assets of one version, ready to be served. It does not change, and may be used concurrently.
type Site struct {
	*config
	store *Sites
	files map[string]*file
}

// file is one asset. Its content is a blob.
type file struct {
	hash string // of the blob
	size int64
	mime []string // the value of Content-Type; nil: none is sent
	etag []string // the value of ETag
	pack bool     // worth compressing
}

// Request is what a Site needs of one.
type Request struct {
	Method string
	Target string // in origin form, as it was sent
	Scheme string // of the URL: "http" or "https"
	Host   string
	Header http.Header
	Codings
}

// decision is what a Site does with a request; the zero value: it has nothing for it.
type decision struct {
	status   int    // of the file, or of the redirect, or 404 or 405 without a body
	file     *file  // to serve; nil: none
	location string // of a redirect
	final    bool   // a 404 that no Worker is to have instead
}

func (d decision) nothing() bool { return d == decision{} }

// parsed is a request's URL, parsed once.
type parsed struct {
	*Request
	location        // its path and search in their standard form
	hostname string // host without its port
	decoded  string // the path as manifests have it
}

func (r *Request) parse() *parsed {
	p := &parsed{Request: r}
	p.scheme = r.Scheme
	p.host = cleanHost(r.Host, r.Scheme)
	p.hostname = withoutPort(p.host)
	p.path, p.search = splitTarget(r.Target)
	p.decoded = decodePath(p.path)
	return p
}

// within takes the base path off a decoded path, and reports whether it is below it.
func (s *Site) within(path string) (string, bool) {
	switch {
	case s.base == "/":
		return path, true
	case path == s.base[:len(s.base)-1]:
		return "/", true
	case strings.HasPrefix(path, s.base):
		return path[len(s.base)-1:], true
	}
	return path, false
}

// decide says what the site has for a request, with not_found_handling as given.
func (s *Site) decide(p *parsed, notFound string) decision {
	path, decoded, proxied := p.path, p.decoded, false
	if r, ok := s.redirects.find(p.hostname, p.path); ok {
		to, err := p.location.resolve(r.to)
		if err != nil { // what a placeholder stands for cannot be part of a host, say
			return decision{status: http.StatusInternalServerError}
		}
		if r.status != 200 {
			return decision{status: r.status, location: redirectTo(to, p.location)}
		}
		path, proxied = to.path, true
		decoded = decodePath(path)
	}
	asset, inside := s.within(decoded)
	var found found
	if inside {
		found = s.root(decoded, proxied)
		if found.file == nil && found.redirect == "" {
			found = s.lookup(asset, true)
		}
	}
	d := decision{file: found.file, status: http.StatusOK}
	if d.file == nil && found.redirect == "" {
		if inside {
			d.file, d.status = s.missing(asset, notFound)
		}
		if d.file == nil {
			if proxied {
				return decision{status: http.StatusNotFound, final: true}
			}
			return decision{}
		}
	}
	if p.Method != http.MethodGet && p.Method != http.MethodHead {
		return decision{status: http.StatusMethodNotAllowed}
	}
	// The one path of an asset is the escaped form of its name. A redirect there and one of html_handling are one.
	if found.redirect != "" {
		decoded = s.outside(found.redirect)
	}
	if one := encodePath(decoded); found.redirect != "" || one != path {
		return decision{status: http.StatusTemporaryRedirect, location: one + p.search}
	}
	return d
}

// root decides between the base path with and without its last slash.
func (s *Site) root(decoded string, proxied bool) found {
	if s.base == "/" || proxied || s.files["/index.html"] == nil {
		return found{}
	}
	bare := s.base[:len(s.base)-1]
	switch {
	case s.html == "drop-trailing-slash" && decoded == s.base:
		return found{redirect: bareRoot}
	case (s.html == "auto-trailing-slash" || s.html == "force-trailing-slash") && decoded == bare:
		return found{redirect: "/"}
	}
	return found{}
}

// bareRoot stands for the base path without its last slash, as a path below the base path.
const bareRoot = "\x00"

// outside adds the base path to a path below it.
func (s *Site) outside(path string) string {
	if path == bareRoot {
		return s.base[:len(s.base)-1]
	}
	return s.base[:len(s.base)-1] + path
}

// redirectTo is the value of Location for a rule of _redirects. The request's query goes along, unless the target has one.
func redirectTo(to, from location) string {
	if to.search == "" {
		to.search = from.search
	}
	if to.scheme == from.scheme && to.host == from.host {
		return to.path + to.search + to.fragment
	}
	return to.String()
}

// Route is where a request to a script with assets goes.
type Route int

const (
	ToAssets Route = iota // Answer answers it
	ToWorker              // the script's Worker
	ToImages              // the Worker, but a response that is no image is not let through: see Suspect
	toNobody              // an image proxy is being abused
)

// route decides between the site and the script's Worker. The decision is what the site has, for ToAssets.
func (s *Site) route(p *parsed) (Route, decision) {
	_, inside := s.within(p.decoded)
	switch {
	case s.rules && matchAny(s.toAssets, p.path), !s.hasWorker:
		return ToAssets, s.whole(p)
	case s.rules && matchAny(s.toWorker, p.path), s.first, !inside:
		return p.toWorker(), decision{}
	}
	handling := notFoundNone
	if s.rules || s.navigation && p.Header.Get("Sec-Fetch-Mode") == "navigate" {
		handling = s.notFound
	}
	d := s.decide(p, handling)
	if d.nothing() {
		return p.toWorker(), d
	}
	if d.final { // how a rewritten path fails depends on not_found_handling in any case
		d = s.decide(p, s.notFound)
	}
	return ToAssets, d
}

// whole is what the site alone has for a request.
func (s *Site) whole(p *parsed) decision {
	if _, inside := s.within(p.decoded); !inside {
		return decision{}
	}
	return s.decide(p, s.notFound)
}

func matchAny(globs []string, path string) bool {
	for _, g := range globs {
		if glob(g, path) {
			return true
		}
	}
	return false
}

// toWorker watches over the image proxies of two frameworks, as Cloudflare does for every Worker with assets: they would
// serve other sites' content under the site's own name.
func (p *parsed) toWorker() Route {
	query := func(name string) string {
		q, _ := url.ParseQuery(strings.TrimPrefix(p.search, "?")) // the valid part of it
		return q.Get(name)
	}
	isImage := p.Header.Get("Sec-Fetch-Dest") == "image"
	if p.path == "/_image" && !isImage {
		if href := query("href"); len(href) > 2 && strings.HasPrefix(href, "//") {
			to, err := location{}.resolve("https:" + href)
			if err == nil && withoutPort(to.host) != p.hostname {
				return toNobody
			}
		}
	}
	if strings.HasSuffix(p.path, "/_next/image") && (p.Method != http.MethodGet || !isImage) {
		if u := query("url"); u != "" && !strings.HasPrefix(u, "/") {
			return ToImages
		}
	}
	return ToWorker
}

// Suspect reports whether a Worker's response to a request that went ToImages is to be withheld: it is neither an image
// nor plain text.
func Suspect(status int, h http.Header) bool {
	types := h["Content-Type"]
	if status == http.StatusNotModified {
		return false
	}
	if len(types) != 1 || strings.Contains(types[0], ",") {
		return true
	}
	before, _, _ := strings.Cut(types[0], ";")
	return !strings.HasPrefix(types[0], "image/") && before != "text/plain"
}
