package assets

import "strings"

// How html_handling finds the file for a path. Take a path apart into its stem and an ending, which is "/index",
// "/index.html", "/", ".html" or nothing. Two files may be meant: the page, stem + ".html", and the index,
// stem + "/index.html"; and both may be served at two paths: bare, the stem, and slash, stem + "/". Each mode is a list of
// steps for each ending; the steps for no ending follow with the whole path as the stem.
// https://developers.cloudflare.com/workers/static-assets/routing/advanced/html-handling/

// ending is how a path ends.
type ending int

const (
	noEnding  ending = iota
	index            // "/index"
	indexHTML        // "/index.html"
	slash            // "/"
	html             // ".html"
)

// takeApart returns the stem of a path and how it ends.
func takeApart(path string) (stem string, e ending) {
	for _, c := range []struct {
		suffix string
		ending
	}{{"/index", index}, {"/index.html", indexHTML}, {"/", slash}, {".html", html}} {
		if stem, ok := strings.CutSuffix(path, c.suffix); ok {
			return stem, c.ending
		}
	}
	return path, noEnding
}

// step is one try: serve a file at the requested path, or redirect to another path of it.
type step int

const (
	serveExact step = iota // the file that is called as the path
	servePage
	serveIndex
	pageToBare // redirect the page to the stem, and so on
	pageToSlash
	indexToBare
	indexToSlash
)

// htmlSteps are the steps of the modes of html_handling, by ending.
var htmlSteps = map[string][][]step{
	"none": {noEnding: {serveExact}, index: {}, indexHTML: {}, slash: {}, html: {}},
	"auto-trailing-slash": {
		index:     {serveExact, indexToSlash, pageToBare},
		indexHTML: {indexToSlash, pageToBare},
		slash:     {serveIndex, pageToBare},
		html:      {pageToBare, indexToSlash},
		noEnding:  {serveExact, servePage, indexToSlash},
	},
	"force-trailing-slash": {
		index:     {serveExact, indexToSlash, pageToSlash},
		indexHTML: {indexToSlash, pageToSlash},
		slash:     {serveIndex, servePage},
		html:      {pageToSlash, serveExact, indexToSlash},
		noEnding:  {serveExact, pageToSlash, indexToSlash},
	},
	"drop-trailing-slash": {
		index:     {serveExact, pageToBare, indexToBare},
		indexHTML: {indexToBare, serveExact, pageToBare},
		slash:     {pageToBare, indexToBare},
		html:      {pageToBare, indexToBare},
		noEnding:  {serveExact, servePage, serveIndex},
	},
}

// found is what the files have for a path: a file to serve, or a path to redirect to. The zero value is nothing.
type found struct {
	file     *file
	redirect string
}

// lookup finds what html_handling has for a path, without what not_found_handling adds; redirects says whether it may be a
// redirect.
func (s *Site) lookup(path string, redirects bool) found {
	stem, e := takeApart(path)
	if f := s.files["/index.html"]; f != nil && path == "/" && s.html == "drop-trailing-slash" {
		return found{file: f} // the one slash that cannot be dropped
	}
	steps := htmlSteps[s.html]
	if e != noEnding {
		for _, st := range steps[e] {
			if f := s.try(st, path, stem, redirects); f != (found{}) {
				return f
			}
		}
	}
	for _, st := range steps[noEnding] {
		if f := s.try(st, path, path, redirects); f != (found{}) {
			return f
		}
	}
	return found{}
}

func (s *Site) try(st step, path, stem string, redirects bool) found {
	switch {
	case st == serveExact:
		return found{file: s.files[path]}
	case st == servePage:
		return found{file: s.files[stem+".html"]}
	case st == serveIndex:
		return found{file: s.files[stem+"/index.html"]}
	case !redirects:
		return found{}
	}
	file, to := stem+".html", stem
	if st == indexToBare || st == indexToSlash {
		file = stem + "/index.html"
	}
	if st == pageToSlash || st == indexToSlash || to == "" {
		to += "/"
	}
	// Whoever is redirected must arrive at the file that he asked for.
	if f := s.files[file]; f != nil && s.files[to] == nil && s.lookup(to, false).file == f {
		return found{redirect: to}
	}
	return found{}
}

// missing finds what not_found_handling has for a path that is nothing else: the application's page, or the nearest
// 404.html on the way up.
func (s *Site) missing(path, handling string) (f *file, status int) {
	switch handling {
	case notFoundApp:
		return s.files["/index.html"], 200
	case notFoundPage:
		for path != "" {
			path = path[:max(0, strings.LastIndexByte(path, '/'))]
			if f := s.files[path+"/404.html"]; f != nil {
				return f, 404
			}
		}
	}
	return nil, 0
}
