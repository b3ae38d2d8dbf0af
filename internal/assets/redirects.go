package assets

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// redirects are the rules of a _redirects file: those of plain paths, the first of which wins, then those with patterns in
// their order. https://developers.cloudflare.com/workers/static-assets/redirects/
type redirects struct {
	plain    map[string]redirect
	patterns []patternRedirect
}

type redirect struct {
	status int // 200: serve the target's asset in the place of the path's
	to     string
}

type patternRedirect struct {
	*pattern
	redirect
}

// inlineComment is a comment at a line's end; a fragment has no blank before it.
var inlineComment = regexp.MustCompile(`\s+#.*$`)

var redirectStatuses = []int{200, 301, 302, 303, 307, 308}

// redirectParser is a _redirects file being read.
type redirectParser struct {
	html     bool // some html_handling is on
	warnings []Warning
	rules    redirects
	seen     map[string]bool
	statics  int
	dynamics int
	patterns bool // a rule with a pattern was seen: those from there on count as such
	ordered  bool // a good one was: from there on, all rules are tried in their order
}

// parseRedirects reads a _redirects file. html says whether any html_handling is on, with which some rules would redirect
// for ever.
func parseRedirects(text string, html bool) (redirects, []Warning) {
	p := &redirectParser{html: html, seen: map[string]bool{}}
	for n, line := range lines("_redirects", text, p.warn) {
		if !p.line(n, line) {
			break
		}
	}
	return p.rules, p.warnings
}

func (p *redirectParser) warn(line int, format string, args ...any) {
	p.warnings = append(p.warnings, warning("_redirects", line, format, args...))
}

// line reads one rule. It returns false where the rest of the file is of no use.
func (p *redirectParser) line(n int, line string) bool {
	tokens := strings.FieldsFunc(inlineComment.ReplaceAllString(line, ""), isBlank)
	if len(tokens) < 2 || len(tokens) > 3 {
		p.warn(n, "a rule has two or three words, a path, a target and perhaps a status; here are %d", len(tokens))
		return true
	}
	from, why := ruleURL(tokens[0], true, true, false)
	if why != "" {
		p.warn(n, "%s", why)
		return true
	}
	if !p.patterns && !strings.Contains(from, "*") && !placeholder.MatchString(from) {
		if p.statics++; p.statics > maxStaticRedirects {
			p.warn(n, "there are more than %d rules without patterns", maxStaticRedirects)
			return true
		}
	} else {
		p.patterns = true
		if p.dynamics++; p.dynamics > maxDynamicRedirects {
			p.warn(n, "there are more than %d rules with patterns or after one; the rest of the file is ignored", maxDynamicRedirects)
			return false
		}
	}
	p.add(n, from, tokens)
	return true
}

// toIndex is a target that html_handling would redirect to the path without it.
var toIndex = regexp.MustCompile(`/index(.html)?$`)

func (p *redirectParser) add(n int, from string, tokens []string) {
	to, why := ruleURL(tokens[1], false, false, true)
	if why != "" {
		p.warn(n, "%s", why)
		return
	}
	status := 302
	if len(tokens) == 3 {
		f, err := strconv.ParseFloat(tokens[2], 64)
		status = int(f)
		if err != nil || float64(status) != f || !slices.Contains(redirectStatuses, status) {
			p.warn(n, "the status is 200, 301, 302 (the default), 303, 307 or 308, not %s", tokens[2])
			return
		}
	}
	loops := strings.HasSuffix(from, "/*") || p.html && strings.HasSuffix(from, "/")
	switch {
	case !hasHost(to) && loops && toIndex.MatchString(to):
		p.warn(n, "the rule would redirect for ever: its target is redirected back by html_handling")
		return
	case p.seen[from]:
		p.warn(n, "there is a rule for %s already", from)
		return
	}
	p.seen[from] = true
	if status == 200 && hasHost(to) {
		p.warn(n, "a rule with status 200 has a path as its target, not %s", to)
		return
	}
	r := redirect{status, to}
	if !strings.Contains(from, "*") && !placeholder.MatchString(from) && !p.ordered {
		if p.rules.plain == nil {
			p.rules.plain = map[string]redirect{}
		}
		p.rules.plain[from] = r
		return
	}
	p.ordered = true
	if pat, ok := compilePattern(from); ok {
		p.rules.patterns = append(p.rules.patterns, patternRedirect{pat, r})
	} else {
		p.warn(n, "%s has more than one * or the same placeholder twice", from)
	}
}

func isBlank(r rune) bool { return trim(string(r)) == "" }

// find returns the redirect for a path, its target filled in.
func (r *redirects) find(hostname, path string) (redirect, bool) {
	if d, ok := r.plain[path]; ok {
		return d, true
	}
	for _, p := range r.patterns {
		if values, ok := p.match(hostname, path); ok {
			return redirect{p.status, oneSlash(p.to, trim(p.fill(p.to, values)))}, true
		}
	}
	return redirect{}, false
}

// oneSlash makes one slash of several in the path of a target that was written without a host: what a placeholder stands
// for must not turn it into another site's URL.
func oneSlash(written, target string) string {
	if hasHost(written) {
		return target
	}
	end := strings.IndexAny(target, "?#")
	if end < 0 {
		end = len(target)
	}
	return slashes.ReplaceAllString(target[:end], "/") + target[end:]
}

var slashes = regexp.MustCompile(`[/\\]{2,}`)
