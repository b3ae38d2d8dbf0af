package cache

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// headers reads lines of "name: value", joined by " | ".
func headers(lines string) http.Header {
	h := http.Header{}
	for line := range strings.SplitSeq(lines, " | ") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			h.Add(name, strings.TrimSpace(value))
		}
	}
	return h
}

func TestLifetime(t *testing.T) {
	at := func(d time.Duration) string { return noon.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		request  string
		status   int
		response string
		left     int64 // 0: of no use
	}{
		// Explicit lifetimes.
		{"", 200, "Cache-Control: max-age=60", 60},
		{"", 200, "Cache-Control: public, MAX-AGE=60", 60},
		{"", 200, `Cache-Control: max-age="60"`, 60},
		{"", 200, "Cache-Control: max-age=60, s-maxage=5", 5},
		{"", 200, "Cache-Control: s-maxage=5 | Cache-Control: max-age=60", 5},
		{"", 200, "Cache-Control: max-age=60, max-age=9", 60},
		{"", 200, "Cache-Control: max-age=99999999999999999999", maxAge},
		{"", 418, "Cache-Control: max-age=60", 60},
		{"", 500, "Cache-Control: max-age=60", 60},
		{"", 200, "Expires: " + at(time.Minute), 60},
		{"", 200, "Expires: " + at(time.Minute) + " | Date: " + at(-30*time.Second), 60}, // 90 s, of which 30 are over
		{"", 200, "Cache-Control: max-age=10 | Expires: " + at(time.Hour), 10},
		{"", 200, "Cache-Control: public | Expires: " + at(time.Hour), 3600},
		// How old it is already.
		{"", 200, "Cache-Control: max-age=60 | Age: 20", 40},
		{"", 200, "Cache-Control: max-age=60 | Age: 20 | Date: " + at(-50*time.Second), 10},
		{"", 200, "Cache-Control: max-age=60 | Date: " + at(time.Hour), 60}, // a clock that is ahead
		{"", 200, "Cache-Control: max-age=60 | Age: 60", 0},
		{"", 200, "Cache-Control: max-age=60 | Age: x", 60},
		// None of its own.
		{"", 200, "", 7200}, {"", 301, "", 7200}, {"", 302, "", 1200}, {"", 303, "", 1200}, {"", 404, "", 180}, {"", 410, "", 180},
		{"", 201, "", 0}, {"", 204, "", 0}, {"", 403, "", 0}, {"", 500, "", 0}, {"", 307, "", 0},
		{"", 200, "Cache-Control: public", 7200},
		// Not to be stored.
		{"", 200, "Cache-Control: no-store, max-age=60", 0},
		{"", 200, "Cache-Control: private, max-age=60", 0},
		{"", 200, "Cache-Control: no-cache, max-age=60", 0},
		{"", 200, "Cache-Control: max-age=0", 0}, {"", 200, "Cache-Control: max-age=-1", 0}, {"", 200, "Cache-Control: max-age", 0},
		{"", 200, "Cache-Control: max-age=1.5", 0}, {"", 200, "Cache-Control: s-maxage=0, max-age=60", 0},
		{"", 200, "Expires: 0", 0}, {"", 200, "Expires: " + at(0), 0}, {"", 200, "Expires: " + at(-time.Hour), 0},
		{"", 206, "Cache-Control: max-age=60", 0}, {"", 304, "Cache-Control: max-age=60", 0}, {"", 101, "Cache-Control: max-age=60", 0}, {"", 600, "Cache-Control: max-age=60", 0},
		{"", 200, "Vary: * | Cache-Control: max-age=60", 0}, {"", 200, "Vary: Accept, * | Cache-Control: max-age=60", 0},
		// Cookies.
		{"", 200, "Cache-Control: max-age=60 | Set-Cookie: a=b", 0},
		{"", 200, "Cache-Control: max-age=60, private=Set-Cookie | Set-Cookie: a=b", 60},
		{"", 200, `Cache-Control: max-age=60, private="x, set-cookie" | Set-Cookie: a=b`, 60},
		{"", 200, `Cache-Control: max-age=60, no-cache="set-cookie" | Set-Cookie: a=b`, 60},
		{"", 200, `Cache-Control: max-age=60, private="" | Set-Cookie: a=b`, 0},
		// Authorization: RFC 9111, 3.5.
		{"Authorization: x", 200, "Cache-Control: max-age=60", 0}, {"Authorization: x", 200, "", 0},
		{"Authorization: x", 200, "Cache-Control: max-age=60, public", 60},
		{"Authorization: x", 200, "Cache-Control: max-age=60, must-revalidate", 60},
		{"Authorization: x", 200, "Cache-Control: s-maxage=60", 60},
		// Targeted: RFC 9213.
		{"", 200, "CDN-Cache-Control: max-age=5 | Cache-Control: no-store", 5},
		{"", 200, "Cloudflare-CDN-Cache-Control: no-store | CDN-Cache-Control: max-age=5 | Cache-Control: max-age=60", 0},
		{"", 200, "CDN-Cache-Control: public | Expires: 0", 7200},
	} {
		left, _, ok := lifetime(headers(c.request), c.status, headers(c.response), noon)
		if left != c.left || left > 0 && !ok {
			t.Errorf("%q: %d %q: %d s, storable %v; want %d", c.request, c.status, c.response, left, ok, c.left)
		}
	}
}

func TestPrivateFieldsAreNotStored(t *testing.T) {
	h := headers(`Cache-Control: max-age=60, private="set-cookie, x-user" | Set-Cookie: a=b | X-User: me | X-Other: y`)
	if _, _, ok := lifetime(nil, 200, h, noon); !ok {
		t.Fatal("not storable")
	}
	if diff := cmp.Diff(headers(`Cache-Control: max-age=60, private="set-cookie, x-user" | X-Other: y`), h); diff != "" {
		t.Error(diff)
	}
}

func TestSplitDirectives(t *testing.T) {
	got := splitDirectives(` a , B = c,, d="e, f" , g="\"h",=i, j="open, k`)
	want := []directive{{"a", ""}, {"b", "c"}, {"d", "e, f"}, {"g", `"h`}, {"j", "open, k"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(directive{})); diff != "" {
		t.Error(diff)
	}
}

func TestVary(t *testing.T) {
	v := varies(headers("Vary: accept-language, Accept | Vary: ACCEPT")).of(headers("Accept: a | Accept: b | X: y"))
	for request, want := range map[string]bool{
		"Accept: a, b":                       true,
		"Accept: a | Accept: b | X: z":       true,
		"Accept: b, a":                       false,
		"":                                   false,
		"Accept: a, b | Accept-Language:":    true, // an empty one is as good as none
		"Accept: a, b | Accept-Language: de": false,
	} {
		if v.selects(headers(request)) != want {
			t.Errorf("%q selects: %v", request, !want)
		}
	}
}

func FuzzLifetime(f *testing.F) {
	f.Add("public, max-age=60", "private=\"a\"", "Thu, 01 Dec 1994 16:00:00 GMT", "1", "Accept", 200)
	f.Fuzz(func(t *testing.T, control, cdn, expires, age, vary string, status int) {
		h := http.Header{"Cache-Control": {control}, "Cdn-Cache-Control": {cdn}, "Expires": {expires}, "Date": {expires}, "Age": {age}, "Vary": {vary}}
		left, old, ok := lifetime(nil, status, h, noon)
		if left > 0 && !ok || (left < 0 || left > maxAge || old < 0 || old > maxAge) {
			t.Errorf("%d s left, %d s old", left, old)
		}
	})
}
