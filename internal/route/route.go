// Package route finds which script answers a URL.
//
// A [Table] is compiled once from all routes and never changes; whoever publishes a new one swaps a pointer. It knows
// neither HTTP nor the store.
//
// Patterns are Cloudflare's: a host, optionally with "*" at its beginning, and a path, optionally with "*" at its end.
// https://developers.cloudflare.com/workers/configuration/routing/routes/#matching-behavior
package route

import (
	"cmp"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// Route sends the URLs of a pattern to an account script, or to a built-in router. One without either opts the pattern's
// URLs out of less specific routes.
type Route struct {
	Pattern Pattern
	Script  atoll.ScriptRef // an empty Name: none
	Router  *atoll.Router   // nil: none
}

// Pattern is a parsed route pattern.
type Pattern struct {
	scheme     string // "http", "https" or empty for both
	host       string // lower case, without the wildcard
	anyHost    bool   // "*" stood before host: "*example.com", "*.example.com" or "*"
	path       string
	pathPrefix bool // "*" stood after path
}

// MaxPattern is how many bytes a pattern may have.
const MaxPattern = 1024

// ParsePattern reads a pattern such as "*/*", "*.example.com/*", "example.com/api/*" or "https://example.com/".
func ParsePattern(s string) (Pattern, error) {
	bad := func(why string) (Pattern, error) {
		return Pattern{}, fault.Newf(fault.Invalid, 10022, "invalid route pattern %q: %s", s, why)
	}
	if len(s) > MaxPattern {
		return bad("it is too long")
	}
	var p Pattern
	rest := s
	if scheme, after, ok := strings.Cut(s, "://"); ok {
		p.scheme, rest = strings.ToLower(scheme), after
		if p.scheme != "http" && p.scheme != "https" && p.scheme != "*" {
			return bad("the scheme must be http or https")
		}
		p.scheme = strings.TrimPrefix(p.scheme, "*")
	}
	host, path, ok := strings.Cut(rest, "/")
	if !ok && strings.HasSuffix(host, "*") && host != "*" {
		// "example.com*" means the host and everything under it.
		host, path = strings.TrimSuffix(host, "*"), "*"
	} else if !ok {
		path = ""
	}
	path = "/" + path
	if strings.ContainsAny(rest, "?#") {
		return bad("it may not have a query or fragment")
	}
	p.host, p.anyHost = strings.CutPrefix(strings.ToLower(host), "*")
	p.path, p.pathPrefix = strings.CutSuffix(path, "*")
	switch {
	case host == "":
		return bad("it has no host")
	case strings.Contains(p.host, "*"):
		return bad("a host may have * only at its beginning")
	case strings.Contains(p.path, "*"):
		return bad("a path may have * only at its end")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return bad("it may not have white space or control characters")
	}
	return p, nil
}

// Host returns the pattern's host, with its wildcard.
func (p Pattern) Host() string {
	if p.anyHost {
		return "*" + p.host
	}
	return p.host
}

func (p Pattern) match(scheme, host, path string) bool {
	if p.scheme != "" && p.scheme != scheme {
		return false
	}
	if p.anyHost {
		if !strings.HasSuffix(host, p.host) {
			return false
		}
	} else if host != p.host {
		return false
	}
	if p.pathPrefix {
		return strings.HasPrefix(path, p.path)
	}
	return path == p.path
}

// compare orders patterns by how specific they are, the most specific first: a full host before a wildcard, a longer host
// before a shorter one, a longer path before a shorter one, an exact path before a prefix, a scheme before none.
func compare(a, b Pattern) int {
	return cmp.Or(
		boolCompare(a.anyHost, b.anyHost),
		cmp.Compare(len(b.host), len(a.host)),
		cmp.Compare(len(b.path), len(a.path)),
		boolCompare(a.pathPrefix, b.pathPrefix),
		cmp.Compare(len(b.scheme), len(a.scheme)),
		cmp.Compare(a.host+a.path, b.host+b.path),
	)
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Table is a set of routes, compiled for lookup. It may be used concurrently.
type Table struct {
	hosts map[string][]Route // full hosts, each most specific first
	wild  []Route            // the others, most specific first
}

// Compile makes a Table. Of routes with the same pattern the first wins.
func Compile(routes []Route) *Table {
	t := &Table{hosts: map[string][]Route{}}
	sorted := slices.Clone(routes)
	slices.SortStableFunc(sorted, func(a, b Route) int { return compare(a.Pattern, b.Pattern) })
	for _, r := range sorted {
		if r.Pattern.anyHost {
			t.wild = append(t.wild, r)
		} else {
			t.hosts[r.Pattern.host] = append(t.hosts[r.Pattern.host], r)
		}
	}
	return t
}

// Lookup returns the route of a URL: its scheme, its host without a port, its path. ok is false where none matches or the
// most specific one opts out.
func (t *Table) Lookup(scheme, host, path string) (_ Route, ok bool) {
	host = strings.ToLower(host)
	for _, list := range [][]Route{t.hosts[host], t.wild} {
		for _, r := range list {
			if r.Pattern.match(scheme, host, path) {
				return r, r.Script.Name != "" || r.Router != nil
			}
		}
	}
	return Route{}, false
}
