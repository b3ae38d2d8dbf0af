package assets

import (
	"regexp"
	"slices"
	"strings"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

// config is how a version's assets are served, compiled.
type config struct {
	html       string // html_handling
	notFound   string // not_found_handling
	base       string // base_path: "/", or with a slash at both ends
	redirects  redirects
	headers    []headerRule
	hasWorker  bool
	first      bool     // the Worker before all assets
	rules      bool     // run_worker_first has rules
	toWorker   []string // the rules' paths that go to the Worker
	toAssets   []string // and those that do not
	navigation bool     // a browser's navigation gets what not_found_handling says before the Worker is asked
}

// The values of not_found_handling.
const (
	notFoundNone = "none"
	notFoundPage = "404-page"
	notFoundApp  = "single-page-application"
)

// navigationDate is from when on navigations prefer assets.
// https://developers.cloudflare.com/workers/configuration/compatibility-flags/#navigation-requests-prefer-asset-serving
const navigationDate = "2025-04-01"

// compile returns the compiled configuration of v's assets, with what is ignored of it.
func compile(v *atoll.Version) (*config, []Warning, error) {
	in := v.Assets.Config
	c := &config{html: in.HTMLHandling, notFound: in.NotFoundHandling, hasWorker: v.HasCode(), first: in.WorkerFirst,
		rules: len(in.WorkerFirstRules) > 0}
	if c.html == "" {
		c.html = "auto-trailing-slash"
	}
	if c.notFound == "" {
		c.notFound = notFoundNone
	}
	if htmlSteps[c.html] == nil {
		return nil, nil, fault.Newf(fault.Invalid, 10021, "assets.config.html_handling must be auto-trailing-slash, force-trailing-slash, drop-trailing-slash or none, not %q", c.html)
	}
	if !slices.Contains([]string{notFoundNone, notFoundPage, notFoundApp}, c.notFound) {
		return nil, nil, fault.Newf(fault.Invalid, 10021, "assets.config.not_found_handling must be none, 404-page or single-page-application, not %q", c.notFound)
	}
	base, why := basePath(in.BasePath)
	if why != "" {
		return nil, nil, fault.New(fault.Invalid, 10021, "Invalid assets base_path: "+why)
	}
	c.base = base
	if err := c.route(in.WorkerFirstRules); err != nil {
		return nil, nil, err
	}
	if !c.hasWorker && (c.first || c.rules) {
		return nil, nil, fault.New(fault.Invalid, 10021, "Cannot set run_worker_first without a Worker script.")
	}
	flags := v.CompatibilityFlags
	c.navigation = slices.Contains(flags, "assets_navigation_prefers_asset_serving") ||
		v.CompatibilityDate >= navigationDate && !slices.Contains(flags, "assets_navigation_has_no_effect")
	var warnings, more []Warning
	c.redirects, warnings = parseRedirects(in.Redirects, c.html != "none")
	c.headers, more = parseHeaders(in.Headers)
	return c, append(warnings, more...), nil
}

// Check refuses assets that cannot be served as v asks, and warns of what is ignored.
func Check(v *atoll.Version) ([]Warning, error) {
	if v.Assets == nil {
		return nil, nil
	}
	_, warnings, err := compile(v)
	return warnings, err
}

// maxRules and maxRule bound run_worker_first.
const (
	maxRules = 100
	maxRule  = 100
)

// route reads the rules of run_worker_first. The messages that have a backquote are Cloudflare's.
func (c *config) route(rules []string) error {
	if len(rules) == 0 {
		return nil
	}
	if len(rules) > maxRules {
		return fault.Newf(fault.Invalid, 10021, "Too many `run_worker_first` rules were provided; %d rules provided exceeds max of %d.", len(rules), maxRules)
	}
	var wrong []string
	for _, r := range rules {
		switch path, not := strings.CutPrefix(r, "!"); {
		case not && strings.HasPrefix(path, "/"):
			c.toAssets = append(c.toAssets, path)
		case not:
			wrong = append(wrong, "'"+r+"': negative rules must start with '!/'")
		case strings.HasPrefix(r, "/"):
			c.toWorker = append(c.toWorker, r)
		default:
			wrong = append(wrong, "'"+r+"': rules must start with '/' or '!/'")
		}
	}
	if len(c.toAssets) > 0 && len(c.toWorker) == 0 {
		return fault.New(fault.Invalid, 10021, "Only negative `run_worker_first` rules were provided; must provide at least 1 non-negative rule")
	}
	wrong = append(wrong, wrongRules("", c.toWorker)...)
	wrong = append(wrong, wrongRules("!", c.toAssets)...)
	if len(wrong) > 0 {
		return fault.New(fault.Invalid, 10021, "Invalid routes in `run_worker_first`:\n"+strings.Join(wrong, "\n"))
	}
	return nil
}

// wrongRules says what is wrong with rules of one sort, which were sent with the mark in front.
func wrongRules(mark string, rules []string) (wrong []string) {
	for i, r := range rules {
		if utf16Len(mark+r) > maxRule {
			wrong = append(wrong, "'"+mark+r+"': all rules must be less than 100 characters in length")
		}
		if slices.Contains(rules[:i], r) {
			wrong = append(wrong, "'"+mark+r+"': rule is a duplicate; rules must be unique")
		}
		start, wild := strings.CutSuffix(r, "*")
		for _, other := range rules {
			if wild && other != r && strings.HasPrefix(other, start) {
				wrong = append(wrong, "'"+mark+other+"': rule '"+mark+r+"' makes it redundant")
			}
		}
	}
	return wrong
}

var hasScheme = regexp.MustCompile(`^[a-zA-Z][a-zA-Z\d+.-]*:`)

// basePath gives base_path its one form, or says what is wrong with it, in Cloudflare's words.
func basePath(s string) (base, wrong string) {
	switch {
	case s == "":
		return "/", ""
	case strings.HasPrefix(s, "//") || hasScheme.MatchString(s):
		return "", "The value must be a pathname, not a URL."
	case strings.Contains(s, `\`):
		return "", "The value must not contain backslashes."
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", "The value must not contain control characters."
	case strings.ContainsAny(s, "?#"):
		return "", "The value must not contain query strings or fragments."
	case strings.Contains(s, "%"):
		return "", "The value must not contain percent-encoded sequences."
	}
	var out []string
	for part := range strings.SplitSeq(s, "/") {
		switch {
		case part == "" || part == ".":
		case part == "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, part)
		}
	}
	if len(out) == 0 {
		return "/", ""
	}
	return "/" + strings.Join(out, "/") + "/", ""
}
