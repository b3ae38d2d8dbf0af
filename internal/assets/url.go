package assets

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"
)

// This file reads paths as the URL standard does (https://url.spec.whatwg.org/), since that is what a Worker's request.url
// has gone through when Cloudflare looks for its asset. net/url differs: it keeps dot segments and backslashes.

// splitTarget returns the path and the query, with its question mark, of a request target in origin form (RFC 9112,
// section 3.2.1). An empty query is none.
func splitTarget(target string) (path, search string) {
	if i := strings.IndexAny(target, "?#"); i >= 0 {
		path, search = target[:i], target[i:]
		if j := strings.IndexByte(search, '#'); j >= 0 {
			search = search[:j] // a fragment has no business in a request
		}
		if len(search) <= 1 {
			search = ""
		}
		return cleanPath(path, true), escape(search, inSearch)
	}
	return cleanPath(target, true), ""
}

// cleanPath is the path state of the standard's parser: it resolves dot segments and escapes what no path may hold. In
// special URLs, such as those of http, a backslash is a slash.
func cleanPath(p string, special bool) string {
	if isClean(p) {
		return p
	}
	if special {
		p = strings.ReplaceAll(p, `\`, "/")
	}
	parts := strings.Split(strings.TrimPrefix(p, "/"), "/")
	out := make([]string, 0, len(parts)+1)
	for i, part := range parts {
		dots := dotSegment(part)
		if dots == 0 {
			out = append(out, escape(part, inPath))
			continue
		}
		if dots == 2 && len(out) > 0 {
			out = out[:len(out)-1]
		}
		if i == len(parts)-1 {
			out = append(out, "")
		}
	}
	return "/" + strings.Join(out, "/")
}

// isClean reports whether cleanPath would change nothing, for the paths that nearly all requests have.
func isClean(p string) bool {
	if p == "" || p[0] != '/' {
		return false
	}
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~', c == '/':
		case c == '.':
			if p[i-1] == '/' { // not the first byte, that is a slash
				return false
			}
		default:
			return false
		}
	}
	return true
}

// dotSegment returns 1 for a segment that means this folder, 2 for the one above, however they are escaped, else 0.
func dotSegment(s string) int {
	if len(s) > 6 {
		return 0
	}
	switch strings.ReplaceAll(strings.ToLower(s), "%2e", ".") {
	case ".":
		return 1
	case "..":
		return 2
	}
	return 0
}

// The percent-encode sets: what must be escaped beside controls and what is not ASCII.
const (
	inPath     = " \"#<>?`{}"
	inSearch   = " \"#<>'"
	inFragment = " \"<>`"
)

const hexDigits = "0123456789ABCDEF"

func escape(s, set string) string {
	bad := func(c byte) bool { return c < ' ' || c > '~' || strings.IndexByte(set, c) >= 0 }
	n := 0
	for i := range len(s) {
		if bad(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	out := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; bad(c) {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		} else {
			out = append(out, c)
		}
	}
	return string(out)
}

// decodePath undoes the escapes of each segment, where they are valid ones of valid UTF-8, and makes one slash of several:
// the name under which a manifest has what the path means.
func decodePath(p string) string {
	if strings.IndexByte(p, '%') >= 0 {
		parts := strings.Split(p, "/")
		for i, part := range parts {
			if s, err := url.PathUnescape(part); err == nil && utf8.ValidString(s) {
				parts[i] = s
			}
		}
		p = strings.Join(parts, "/")
	}
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

// encodePath is the one form of a path under which an asset is served: each segment escaped as ECMAScript's
// encodeURIComponent does.
func encodePath(p string) string {
	n := 0
	for i := range len(p) {
		if !stays(p[i]) {
			n++
		}
	}
	if n == 0 {
		return p
	}
	out := make([]byte, 0, len(p)+2*n)
	for i := range len(p) {
		if c := p[i]; stays(c) {
			out = append(out, c)
		} else {
			out = append(out, '%', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return string(out)
}

// stays are the bytes that encodeURIComponent leaves alone, and the slash between segments.
func stays(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/-_.!~*'()", c) >= 0
}

// location is an http URL taken apart.
type location struct {
	scheme, host           string // host with its port, unless that is the scheme's own
	path, search, fragment string // the latter two with their marks, or empty
}

func (l location) String() string {
	return l.scheme + "://" + l.host + l.path + l.search + l.fragment
}

var errBadURL = errors.New("not a URL")

// resolve parses a redirect's target, which has a scheme and a host, a host alone, or a path, against the request's URL.
func (l location) resolve(to string) (location, error) {
	to = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' {
			return -1
		}
		return r
	}, strings.TrimFunc(to, func(r rune) bool { return r <= ' ' }))
	scheme, rest, found := strings.Cut(to, ":")
	switch scheme = strings.ToLower(scheme); {
	case found && (scheme == "https" || scheme == "http"):
		l.scheme, l.host = scheme, ""
		to = rest
	case len(to) > 1 && isSlash(to[0]) && isSlash(to[1]):
		l.host = ""
	case to == "" || !isSlash(to[0]):
		return l, errBadURL
	}
	if l.host == "" {
		to = strings.TrimLeft(to, `/\`)
		end := strings.IndexAny(to, `/\?#`)
		if end < 0 {
			end = len(to)
		}
		if l.host = cleanHost(to[:end], l.scheme); !validHost(l.host) {
			return l, errBadURL
		}
		if to = to[end:]; to == "" || !isSlash(to[0]) {
			to = "/" + to
		}
	}
	to, l.fragment = cutMark(to, '#')
	to, l.search = cutMark(to, '?')
	l.path, l.search, l.fragment = cleanPath(to, true), escape(l.search, inSearch), escape(l.fragment, inFragment)
	return l, nil
}

func isSlash(c byte) bool { return c == '/' || c == '\\' }

// cutMark cuts s before the mark, and drops a mark with nothing behind it.
func cutMark(s string, mark byte) (before, from string) {
	i := strings.IndexByte(s, mark)
	if i < 0 {
		return s, ""
	}
	if i == len(s)-1 {
		return s[:i], ""
	}
	return s[:i], s[i:]
}

// cleanHost gives a host its one form: lower case, without the port that the scheme means anyway.
func cleanHost(host, scheme string) string {
	host = strings.ToLower(host)
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// validHost reports whether the host has none of the code points that the standard forbids in one.
func validHost(host string) bool {
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune("#/<>?@\\^|%", r)
	})
}

// withoutPort returns a host's name.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		return host[:i]
	}
	return host
}
