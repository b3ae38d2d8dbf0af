package assets

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The limits of _redirects and _headers, as clients of Cloudflare hold them:
// https://developers.cloudflare.com/workers/static-assets/redirects/ and .../headers/
const (
	maxLine             = 2000 // UTF-16 code units of one line
	maxStaticRedirects  = 2000
	maxDynamicRedirects = 100
	maxHeaderRules      = 100
)

// Warning says why a line of _redirects or _headers is ignored.
type Warning struct {
	File    string // "_redirects" or "_headers"
	Line    int    // 1 is the first; 0: no single one
	Message string
}

func (w Warning) String() string {
	if w.Line == 0 {
		return w.File + ": " + w.Message
	}
	return fmt.Sprintf("%s:%d: %s", w.File, w.Line, w.Message)
}

// lines yields the numbered lines of a file that have something in them, trimmed, and warns of those that are too long.
func lines(file, text string, warn func(line int, format string, args ...any)) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.SplitSeq(text, "\n") {
			n++
			line = trim(line)
			switch {
			case line == "" || line[0] == '#':
			case utf16Len(line) > maxLine:
				warn(n, "the line is longer than %d characters", maxLine)
			case !yield(n, line):
				return
			}
		}
	}
}

// trim removes what ECMAScript's trim does.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '\uFEFF' })
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// absolute matches a URL with a host, the only scheme being https.
var absolute = regexp.MustCompile(`^https:///*([^/]+)/?(.*)`)

// ruleURL checks a URL of a rule and gives it its one form: a path, or https:// with a host and a path. mark says what is
// kept behind the path.
func ruleURL(token string, onlyPath, noPort, mark bool) (string, string) {
	if m := absolute.FindStringSubmatch(token); m != nil {
		if onlyPath {
			return "", "only paths are allowed here, not the URL " + token
		}
		if noPort && regexp.MustCompile(`:\d+$`).MatchString(m[1]) {
			return "", "ports are not supported: " + token
		}
		return "https://" + m[1] + rulePath(m[2], mark), ""
	}
	if onlyPath && !strings.HasPrefix(token, "/") {
		token = "/" + token
	}
	if !strings.HasPrefix(token, "/") {
		return "", `a URL begins with a slash or with https://: ` + token
	}
	return rulePath(token, mark), ""
}

// rulePath normalises a path as one of a URL whose scheme is nothing special: there a backslash is like any other letter.
func rulePath(p string, mark bool) string {
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	p, fragment := cutMark(p, '#')
	p, search := cutMark(p, '?')
	p = cleanPath(p, false)
	if !mark {
		return p
	}
	return p + escape(search, " \"#<>") + escape(fragment, inFragment)
}

// hasHost reports whether a rule's URL, in its one form, has a host.
func hasHost(u string) bool { return absolute.MatchString(u) }
