package assets

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"atoll.dev/atoll/internal/hop"
)

// headerRule is a rule of a _headers file. https://developers.cloudflare.com/workers/static-assets/headers/
type headerRule struct {
	*pattern
	path  string
	line  int
	set   []headerValue
	unset []string
}

type headerValue struct{ name, value string }

// A header's name and value as they may be sent (RFC 9110, section 5).
var (
	fieldName  = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
	fieldValue = regexp.MustCompile(`^[^\x00-\x08\x0a-\x1f\x7f]*$`)
)

// aPath is a line that begins a rule.
var aPath = regexp.MustCompile(`^(\S+://|/)`)

// theServers are the headers that say how the answer travels and who sends it, which is not the site's business.
var theServers = map[string]bool{"Cf-Ray": true, "Server": true, "Connection": true, "Content-Length": true, "Date": true, "Keep-Alive": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true}

// isTheServers reports whether a header is the server's to set: one of those, or one by which the node and its processes
// understand each other.
func isTheServers(name string) bool { return theServers[name] || strings.HasPrefix(name, hop.Internal) }

// headerParser is a _headers file being read.
type headerParser struct {
	warnings []Warning
	rules    []headerRule
	rule     *headerRule // being read; nil: none
	skip     bool        // the rule's path was refused, so its lines are passed over
}

// parseHeaders reads a _headers file.
func parseHeaders(text string) ([]headerRule, []Warning) {
	p := &headerParser{}
	for n, line := range lines("_headers", text, p.warn) {
		if aPath.MatchString(line) {
			if len(p.rules) >= maxHeaderRules {
				p.warn(n, "there are more than %d rules; the rest of the file is ignored", maxHeaderRules)
				break
			}
			p.end()
			p.begin(n, line)
		} else if !p.skip {
			p.header(n, line)
		}
	}
	p.end()
	return p.compile(), p.warnings
}

func (p *headerParser) warn(line int, format string, args ...any) {
	p.warnings = append(p.warnings, warning("_headers", line, format, args...))
}

func warning(file string, line int, format string, args ...any) Warning {
	return Warning{file, line, fmt.Sprintf(format, args...)}
}

// splatName is a placeholder of the name that the wildcard has.
var splatName = regexp.MustCompile(`:splat(\W|$)`)

func (p *headerParser) begin(n int, line string) {
	p.rule, p.skip = nil, true
	path, why := ruleURL(line, false, true, false)
	stars := strings.Count(path, "*")
	switch {
	case why != "":
		p.warn(n, "%s", why)
	case stars > 1:
		p.warn(n, "a path has at most one *; use placeholders such as :name instead")
	case stars > 0 && splatName.MatchString(path):
		p.warn(n, "a path cannot have both * and :splat, which is the name of what * stands for")
	default:
		p.rule, p.skip = &headerRule{path: path, line: n}, false
	}
}

// end adds the rule being read to those that are whole.
func (p *headerParser) end() {
	if p.rule == nil {
		return
	}
	if len(p.rule.set)+len(p.rule.unset) == 0 {
		p.warn(p.rule.line, "the rule has no headers")
	} else {
		p.rules = append(p.rules, *p.rule)
	}
	p.rule = nil
}

func (p *headerParser) header(n int, line string) {
	name, value, found := strings.Cut(line, ":")
	name, value = strings.ToLower(trim(name)), trim(value)
	unset, isUnset := strings.CutPrefix(line, "! ")
	switch {
	case !found && p.rule == nil:
		p.warn(n, "a path that begins with a slash is expected here")
	case !found && isUnset && isTheServers(http.CanonicalHeaderKey(trim(unset))):
		p.warn(n, "the header %s is the server's to set", trim(unset))
	case !found && isUnset:
		p.rule.unset = append(p.rule.unset, http.CanonicalHeaderKey(trim(unset)))
	case !found:
		p.warn(n, "a header is name: value")
	case name == "":
		p.warn(n, "the header has no name")
	case value == "":
		p.warn(n, "the header has no value")
	case p.rule == nil:
		p.warn(n, "a path has to come before the header %s", name)
	case !fieldName.MatchString(name) || !fieldValue.MatchString(value):
		p.warn(n, "%q is not a valid header", line)
	case isTheServers(http.CanonicalHeaderKey(name)):
		p.warn(n, "the header %s is the server's to set", name)
	default:
		p.add(http.CanonicalHeaderKey(name), value)
	}
}

// add adds a header to the rule; one that is there already gets a list of values.
func (p *headerParser) add(name, value string) {
	for i, h := range p.rule.set {
		if h.name == name {
			p.rule.set[i].value += ", " + value
			return
		}
	}
	p.rule.set = append(p.rule.set, headerValue{name, value})
}

// compile returns the rules whose patterns are valid. Of two with the same path, the later counts, in the place of the
// earlier.
func (p *headerParser) compile() []headerRule {
	var out []headerRule
	at := map[string]int{}
	for _, r := range p.rules {
		pat, ok := compilePattern(r.path)
		if !ok {
			p.warn(r.line, "%s has the same placeholder twice", r.path)
			continue
		}
		r.pattern = pat
		if i, again := at[r.path]; again {
			out[i] = r
			continue
		}
		at[r.path] = len(out)
		out = append(out, r)
	}
	return out
}

// applyHeaders changes h by the rules that match: what several of them set adds up, and replaces what the asset has.
func applyHeaders(rules []headerRule, h http.Header, hostname, path string) {
	var set map[string]bool
	for _, r := range rules {
		values, ok := r.match(hostname, path)
		if !ok {
			continue
		}
		for _, name := range r.unset {
			delete(h, name)
		}
		for _, s := range r.set {
			value := trim(r.fill(s.value, values))
			if set[s.name] {
				h[s.name] = append(h[s.name], value)
				continue
			}
			if set == nil {
				set = map[string]bool{}
			}
			set[s.name] = true
			h[s.name] = []string{value}
		}
	}
}
