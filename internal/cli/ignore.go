package cli

import (
	"regexp"
	"strings"
)

// ignored is the patterns of an .assetsignore file, which are those of gitignore(5).
type ignored []ignoreRule

type ignoreRule struct {
	re   *regexp.Regexp // matches a path without a slash in front
	not  bool           // what matches is not ignored
	dirs bool           // matches directories only
}

// parseIgnore reads patterns. One that cannot be understood matches nothing.
func parseIgnore(text string) ignored {
	var out ignored
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if t := strings.TrimRight(line, " "); !strings.HasSuffix(t, `\`) {
			line = t
		}
		if line == "" || line[0] == '#' {
			continue
		}
		var r ignoreRule
		line, r.not = strings.CutPrefix(line, "!")
		line, r.dirs = strings.CutSuffix(line, "/")
		rooted := strings.Contains(line, "/")
		expr := ignoreExpr(strings.TrimPrefix(line, "/"))
		if !rooted {
			expr = "(?:.*/)?" + expr
		}
		var err error
		if r.re, err = regexp.Compile("^" + expr + "$"); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// ignoreExpr makes a regular expression of a pattern.
func ignoreExpr(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); {
		rest := p[i:]
		start := i == 0 || p[i-1] == '/'
		switch {
		case start && strings.HasPrefix(rest, "**/"):
			b.WriteString("(?:.*/)?")
			i += 3
		case start && rest == "**":
			b.WriteString(".*")
			i += 2
		case rest[0] == '*':
			b.WriteString("[^/]*")
			i += len(rest) - len(strings.TrimLeft(rest, "*"))
		case rest[0] == '?':
			b.WriteString("[^/]")
			i++
		case rest[0] == '[' && strings.IndexByte(rest[1:], ']') > 0:
			end := strings.IndexByte(rest[2:], ']') + 2
			set := rest[1:end]
			if set[0] == '!' {
				set = "^" + set[1:]
			}
			b.WriteString("[" + strings.ReplaceAll(set, `[`, `\[`) + "]")
			i += end + 1
		case rest[0] == '\\' && len(rest) > 1:
			b.WriteString(regexp.QuoteMeta(rest[1:2]))
			i += 2
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
			i++
		}
	}
	return b.String()
}

// match reports whether a path, with slashes and none in front, is ignored. What is in an ignored directory is its caller's
// business: it does not look into one.
func (g ignored) match(path string, dir bool) bool {
	out := false
	for _, r := range g {
		if (dir || !r.dirs) && r.re.MatchString(path) {
			out = !r.not
		}
	}
	return out
}
