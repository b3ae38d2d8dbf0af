package assets

import (
	"regexp"
	"strings"
)

// pattern is the left side of a rule in _redirects and _headers: text with at most one "*", which is called splat, and
// placeholders ":name", each of one path segment, or of one label in the host.
type pattern struct {
	re    *regexp.Regexp
	names []string // of re's groups, from the first
	host  bool     // it begins with https:// and a host
}

var placeholder = regexp.MustCompile(`:[A-Za-z]\w*`)

// compilePattern returns the pattern's compiled form. A name that is there twice makes it invalid.
func compilePattern(rule string) (*pattern, bool) {
	p := &pattern{}
	var b strings.Builder
	b.WriteByte('^')
	path := rule
	if host, ok := strings.CutPrefix(rule, "https://"); ok {
		p.host = true
		end := strings.IndexByte(host, '/')
		if end < 0 {
			end = len(host)
		}
		b.WriteString("https://")
		p.write(&b, host[:end], `[^/.]+`)
		path = host[end:]
	}
	p.write(&b, path, `[^/]+`)
	b.WriteByte('$')
	seen := map[string]bool{}
	for _, name := range p.names {
		if seen[name] {
			return nil, false
		}
		seen[name] = true
	}
	re, err := regexp.Compile(b.String())
	p.re = re
	return p, err == nil
}

// write adds the expression for a part of the rule, in which a placeholder stands for the given one.
func (p *pattern) write(b *strings.Builder, part, each string) {
	for part != "" {
		at := placeholder.FindStringIndex(part)
		if star := strings.IndexByte(part, '*'); star >= 0 && (at == nil || star < at[0]) {
			b.WriteString(regexp.QuoteMeta(part[:star]) + "(.*)")
			p.names = append(p.names, "splat")
			part = part[star+1:]
			continue
		}
		if at == nil {
			b.WriteString(regexp.QuoteMeta(part))
			return
		}
		b.WriteString(regexp.QuoteMeta(part[:at[0]]) + "(" + each + ")")
		p.names = append(p.names, part[at[0]+1:at[1]])
		part = part[at[1]:]
	}
}

// match returns what the pattern's names stand for in a request for path at hostname, and whether it matches. What the
// request's scheme is makes no difference.
func (p *pattern) match(hostname, path string) (values []string, ok bool) {
	if p.host {
		path = "https://" + hostname + path
	}
	m := p.re.FindStringSubmatch(path)
	if m == nil {
		return nil, false
	}
	return m[1:], true
}

// fill puts the values in the places of their names, one name after the other.
func (p *pattern) fill(text string, values []string) string {
	for i, v := range values {
		text = strings.ReplaceAll(text, ":"+p.names[i], v)
	}
	return text
}

// glob reports whether all of path matches a rule of run_worker_first, in which "*" stands for anything.
func glob(rule, path string) bool {
	parts := strings.Split(rule, "*")
	if len(parts) == 1 {
		return rule == path
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(path) < len(first)+len(last) || !strings.HasPrefix(path, first) || !strings.HasSuffix(path, last) {
		return false
	}
	path = path[len(first) : len(path)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(path, part)
		if i < 0 {
			return false
		}
		path = path[i+len(part):]
	}
	return true
}
