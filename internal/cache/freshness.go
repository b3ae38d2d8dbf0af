package cache

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxAge bounds lifetimes, so that arithmetic cannot overflow.
const maxAge = 10 * 365 * 24 * 3600

// byStatus is how long, in seconds, a response is fresh that does not say so itself:
// https://developers.cloudflare.com/cache/how-to/configure-cache-status-code/#edge-ttl
var byStatus = map[int]int64{200: 7200, 301: 7200, 302: 1200, 303: 1200, 404: 180, 410: 180}

// lifetime says for how many seconds a response may be used that is stored now, and how old it is already; storable is
// false where it may not be stored at all. One that is storable and has no time left is of no use itself, but newer than what
// it would replace (RFC 9111, 4). It removes from header what a shared cache must not keep of it. What it follows
// is RFC 9111, and where the two differ https://developers.cloudflare.com/workers/runtime-apis/cache/#headers.
func lifetime(request http.Header, status int, header http.Header, now time.Time) (left, age int64, storable bool) {
	if status < 200 || status > 599 || status == http.StatusPartialContent || status == http.StatusNotModified {
		return 0, 0, false
	}
	d := parseDirectives(header)
	stale := false
	for _, name := range []string{"private", "no-cache"} {
		fields, there := d.get(name)
		if there && strings.Trim(fields, ", ") == "" {
			if name == "private" {
				return 0, 0, false
			}
			stale = true // it may be stored, and never used unasked
		}
		for field := range strings.SplitSeq(fields, ",") {
			header.Del(strings.TrimSpace(field))
		}
	}
	if d.has("no-store") || len(header["Set-Cookie"]) > 0 || varies(header).any() {
		return 0, 0, false
	}
	if len(request["Authorization"]) > 0 && !d.has("public") && !d.has("must-revalidate") && !d.has("s-maxage") {
		return 0, 0, false // RFC 9111, 3.5
	}
	age = initialAge(header, now)
	fresh, ok := d.lifetime(status, header, now)
	if stale {
		fresh, ok = 0, true
	}
	return max(fresh-age, 0), age, ok
}

// lifetime is the response's freshness lifetime: RFC 9111, 4.2.1. Without one, it is not stored.
func (d directives) lifetime(status int, header http.Header, now time.Time) (seconds int64, ok bool) {
	for _, name := range []string{"s-maxage", "max-age"} {
		if v, ok := d.get(name); ok {
			return parseSeconds(v), true
		}
	}
	if expires := header["Expires"]; len(expires) > 0 && !d.targeted {
		at, err := http.ParseTime(expires[0])
		if err != nil {
			return 0, true // 5.3: "0" and the like mean the past
		}
		date := now
		if t, err := http.ParseTime(header.Get("Date")); err == nil {
			date = t
		}
		return min(int64(at.Sub(date)/time.Second), maxAge), true
	}
	seconds, ok = byStatus[status]
	return seconds, ok
}

// initialAge is how old the response is when it arrives: RFC 9111, 4.2.3.
func initialAge(header http.Header, now time.Time) int64 {
	age := int64(0)
	if list := header["Age"]; len(list) > 0 {
		age = parseSeconds(list[0])
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		age = max(age, min(int64(now.Sub(date)/time.Second), maxAge))
	}
	return age
}

// parseSeconds reads delta-seconds (RFC 9111, 1.2.2); what is none is 0, and so not fresh.
func parseSeconds(s string) int64 {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxAge {
		return maxAge // too many digits
	}
	return n
}

// directives are those of a Cache-Control header, in order.
type directives struct {
	list     []directive
	targeted bool // they are meant for caches like this one alone, so that Expires does not count
}

type directive struct{ name, value string }

func (d directives) get(name string) (value string, ok bool) {
	for _, x := range d.list {
		if x.name == name {
			return x.value, true
		}
	}
	return "", false
}

func (d directives) has(name string) bool {
	_, ok := d.get(name)
	return ok
}

// parseDirectives reads what a response says to caches: in a header for Cloudflare's or for those of CDNs (RFC 9213), else
// in Cache-Control.
func parseDirectives(header http.Header) directives {
	for _, name := range []string{"Cloudflare-Cdn-Cache-Control", "Cdn-Cache-Control", "Cache-Control"} {
		if list := header[name]; len(list) > 0 {
			return directives{splitDirectives(strings.Join(list, ",")), name != "Cache-Control"}
		}
	}
	return directives{}
}

// splitDirectives splits at commas outside of quoted strings. Names are in lower case, values without their quotes.
func splitDirectives(s string) []directive {
	var list []directive
	var part strings.Builder
	quoted, escaped := false, false
	end := func() {
		name, value, _ := strings.Cut(part.String(), "=")
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			list = append(list, directive{name, strings.TrimSpace(value)})
		}
		part.Reset()
	}
	for i := range len(s) {
		switch c := s[i]; {
		case escaped:
			part.WriteByte(c)
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			end()
		default:
			part.WriteByte(c)
		}
	}
	end()
	return list
}

// vary is the request's headers that chose a response, as its Vary header names them, each with its value then.
type vary []directive

// varies lists the names of a response's Vary header, in order and once each.
func varies(header http.Header) vary {
	var v vary
	for _, line := range header["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if name != "" && !slices.Contains(v, directive{name: name}) {
				v = append(v, directive{name: name})
			}
		}
	}
	slices.SortFunc(v, func(a, b directive) int { return strings.Compare(a.name, b.name) })
	return v
}

// any says that the response was chosen by more than headers.
func (v vary) any() bool { return slices.Contains(v, directive{name: "*"}) }

// of fills the values in from a request.
func (v vary) of(request http.Header) vary {
	for i := range v {
		v[i].value = selecting(request, v[i].name)
	}
	return v
}

// selects reports whether a request would choose the response, too: RFC 9111, 4.1.
func (v vary) selects(request http.Header) bool {
	for _, d := range v {
		if selecting(request, d.name) != d.value {
			return false
		}
	}
	return true
}

func selecting(request http.Header, name string) string {
	var parts []string
	for _, line := range request[name] {
		parts = append(parts, strings.TrimSpace(line))
	}
	return strings.Join(parts, ", ")
}
