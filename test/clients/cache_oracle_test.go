package clients_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCacheOracle makes the same generated operations of the Cache API in a Worker on the node and in the same Worker on
// miniflare, and compares every field of every answer.
func TestCacheOracle(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	code := oracleWorker(t, "cache-oracle")
	n.oracleOrdinary(code, `[]`)
	peer := onMiniflare(t, code, nil)
	g := cacheGenerator{oracleRandom(t)}
	count := oracleCount(1200)
	tally := map[string]int{}
	differing, known := 0, 0
	hist := map[string][]any{}
	done := 0
	for done < count {
		var steps []map[string]any
		for range 60 {
			steps = append(steps, g.step())
		}
		ours, theirs := oracleSteps(t, n.edge, oracleHost, steps), oracleSteps(t, peer, "", steps)
		for i, step := range steps {
			a, b := cacheAlike(ours[i]), cacheAlike(theirs[i])
			tally[cacheKind(step, a)]++
			k := fmt.Sprint(step["cache"], step["request"].(map[string]any)["url"])
			hist[k] = append(hist[k], step)
			if cacheKnown(step, a, b) {
				known++
			} else if !reflect.DeepEqual(a, b) {
				oracleDiffers(t, done+i, step, a, b)
				before := hist[k][max(0, len(hist[k])-5) : len(hist[k])-1]
				text, _ := json.Marshal(before)
				t.Logf("before it: %.2000s", text)
				if differing++; differing > 10 {
					t.FailNow()
				}
			}
		}
		done += len(steps)
	}
	cacheProbes(t, n.edge, peer)
	cacheExpiry(t, n.edge, peer)
	t.Logf("%d operations, %d of them known to differ: %v", done, known, tally)
	if tally["200"]+tally["206"]+tally["304"]+tally["404"] < done/25 || known > done/10 {
		t.Error("the generator makes too little that can be compared")
	}
}

func cacheKind(step, m map[string]any) string {
	switch {
	case m["error"] != nil:
		return fmt.Sprint(step["op"], " throws")
	case m["undefined"] != nil:
		return "miss"
	case m["deleted"] != nil:
		return fmt.Sprint("delete ", m["deleted"])
	case m["status"] != nil:
		return fmt.Sprint(m["status"])
	}
	return fmt.Sprint(step["op"])
}

// cacheAlike takes out of an answer what the two differ in on purpose; docs/cache.md has the list.
func cacheAlike(v any) map[string]any {
	m, _ := v.(map[string]any)
	h, ok := m["headers"].(map[string]any)
	if !ok {
		return m
	}
	for _, name := range []string{"age", "date"} {
		if m["status"] == 416.0 {
			delete(h, name)
		} else if h[name] != nil {
			h[name] = "there"
		}
	}
	if b, ok := m["body"].(map[string]any); ok && h["content-length"] == fmt.Sprint(b["length"]) {
		delete(h, "content-length") // miniflare has none where put() did not know it
	}
	return m
}

// cacheKnown tells whether two answers that differ do so on purpose, in the way that docs/cache.md says.
func cacheKnown(step, a, b map[string]any) bool {
	request, _ := step["request"].(map[string]any)
	asks := func(name, value string) bool {
		return slices.ContainsFunc(request["headers"].([][]string), func(h []string) bool { return h[0] == name && (value == "" || h[1] == value) })
	}
	switch step["op"] {
	case "delete": // true here is: there was something to match
		return a["deleted"] == false && a["had"] == false && b["deleted"] == true && b["had"] == false
	case "put": // whether the Worker is told of a body that broke off, and is not stored, is a matter of who is first
		body, _ := step["response"].(map[string]any)["body"].(map[string]any)
		return body["as"] == "broken" && a["put"] == true && b["error"] == "Error: broken off"
	case "match":
		status, theirs := fmt.Sprint(a["status"], " ", b["status"]), fmt.Sprint(b["status"])
		switch {
		case status == "304 200": // "*" is any response, and not any with an ETag alone
			etag, _ := a["headers"].(map[string]any)["etag"].(string)
			return asks("if-none-match", "*") && !strings.HasSuffix(etag, `"`)
		case status == "200 416": // a body that is empty has no ranges
			return asks("range", "") && a["body"].(map[string]any)["length"] == 0.0
		case status == "206 200": // more than all of the last bytes are all, of which one says 206
			return asks("range", "bytes=-99999999")
		case status == "416 200": // the last 0 bytes are not to be had
			return asks("range", "bytes=-0")
		case a["status"] != 200.0 && (theirs == "304" || theirs == "206" || theirs == "416"): // conditions and ranges are for 200
			return asks("if-none-match", "") || asks("if-modified-since", "") || asks("range", "")
		}
	}
	return false
}

// cacheProbes makes the operations in which the two differ by design, and some that look like it, and checks both, so that
// the list of differences in docs/cache.md stays true. An entry is put for a URL of its own and matched.
func cacheProbes(t *testing.T, ours, theirs string) {
	type pairs = [][]string
	hour := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	probes := []struct {
		name         string
		status       int
		response     pairs
		put, match   pairs
		ours, theirs string // the status; or -, which is a miss
	}{
		{"no-lifetime", 200, nil, nil, nil, "200", "-"},
		{"no-lifetime-of-302", 302, nil, nil, nil, "302", "-"},
		{"no-lifetime-of-500", 500, nil, nil, nil, "-", "-"},
		{"only-last-modified", 200, pairs{{"last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"}}, nil, nil, "200", "200"},
		{"403", 403, pairs{{"cache-control", "max-age=60"}}, nil, nil, "403", "-"},
		{"500", 500, pairs{{"cache-control", "max-age=60"}}, nil, nil, "500", "-"},
		{"204", 204, pairs{{"cache-control", "max-age=60"}}, nil, nil, "204", "-"},
		{"205", 205, pairs{{"cache-control", "max-age=60"}}, nil, nil, "205", "-"},
		{"upper-case", 200, pairs{{"cache-control", "MAX-AGE=60"}}, nil, nil, "200", "-"},
		{"proxy-revalidate", 200, pairs{{"cache-control", "max-age=60, proxy-revalidate"}}, nil, nil, "200", "-"},
		{"stale-while-revalidate", 200, pairs{{"cache-control", "max-age=0, stale-while-revalidate=60"}}, nil, nil, "-", "200"},
		{"stale-if-error", 200, pairs{{"cache-control", "max-age=0, stale-if-error=60"}}, nil, nil, "-", "200"},
		{"old-by-its-date", 200, pairs{{"cache-control", "max-age=60"}, {"date", hour}}, nil, nil, "-", "200"},
		{"old-by-its-age", 200, pairs{{"cache-control", "max-age=60"}, {"age", "60"}}, nil, nil, "-", "-"},
		{"for-cdns", 200, pairs{{"cache-control", "no-store"}, {"cdn-cache-control", "max-age=60"}}, nil, nil, "200", "-"},
		{"private-cookie", 200, pairs{{"cache-control", "max-age=60, private=Set-Cookie"}, {"set-cookie", "a=b"}}, nil, nil, "200", "200"},
		{"private-cookie-quoted", 200, pairs{{"cache-control", `max-age=60, private="Set-Cookie"`}, {"set-cookie", "a=b"}}, nil, nil, "200", "-"},
		{"authorized", 200, pairs{{"cache-control", "max-age=60"}}, pairs{{"authorization", "x"}}, nil, "-", "-"},
		{"authorized-public", 200, pairs{{"cache-control", "public, max-age=60"}}, pairs{{"authorization", "x"}}, nil, "200", "200"},
		{"vary-alike", 200, pairs{{"cache-control", "max-age=60"}, {"vary", "accept-language"}}, pairs{{"accept-language", "de"}}, pairs{{"accept-language", "de"}}, "200", "200"},
		{"vary-other", 200, pairs{{"cache-control", "max-age=60"}, {"vary", "accept-language"}}, pairs{{"accept-language", "de"}}, pairs{{"accept-language", "en"}}, "-", "200"},
		{"none-match-goes-first", 200, pairs{{"cache-control", "max-age=60"}, {"etag", `"a"`}, {"last-modified", hour}}, nil, pairs{{"if-none-match", `"b"`}, {"if-modified-since", hour}}, "200", "304"},
		{"both-match", 200, pairs{{"cache-control", "max-age=60"}, {"etag", `"a"`}, {"last-modified", hour}, {"content-type", "x/y"}}, nil, pairs{{"if-none-match", `"a"`}, {"if-modified-since", hour}}, "304", "304"},
		{"if-range", 200, pairs{{"cache-control", "max-age=60"}, {"etag", `"a"`}}, nil, pairs{{"range", "bytes=0-1"}, {"if-range", `"b"`}}, "200", "206"},
		{"if-match", 200, pairs{{"cache-control", "max-age=60"}, {"etag", `"a"`}}, nil, pairs{{"if-match", `"b"`}}, "200", "200"},
		{"unit", 200, pairs{{"cache-control", "max-age=60"}}, nil, pairs{{"range", "lines=0-1"}}, "416", "416"},
	}
	var steps []map[string]any
	for _, p := range probes {
		var body any = map[string]any{"as": "text", "text": "hello"}
		if p.status == 204 || p.status == 205 {
			body = nil
		}
		request := func(h pairs) map[string]any {
			return map[string]any{"url": "https://probe.example/" + p.name, "as": "request", "method": "GET", "headers": append(pairs{}, h...)}
		}
		steps = append(steps, map[string]any{"op": "put", "cache": "one", "request": request(p.put), "response": map[string]any{"status": p.status, "headers": append(pairs{}, p.response...), "body": body}},
			map[string]any{"op": "match", "cache": "one", "request": request(p.match)})
	}
	told := func(v any) string {
		m := v.(map[string]any)
		if m["status"] == nil {
			return "-"
		}
		if cookies, ok := m["cookies"].([]any); ok && len(cookies) > 0 {
			return "with cookies"
		}
		return fmt.Sprint(m["status"])
	}
	a, b := oracleSteps(t, ours, oracleHost, steps), oracleSteps(t, theirs, "", steps)
	for i, p := range probes {
		if x, y := told(a[2*i+1]), told(b[2*i+1]); x != p.ours || y != p.theirs {
			t.Errorf("%s: ours %s, miniflare %s; want %s and %s", p.name, x, y, p.ours, p.theirs)
		}
	}
}

// cacheExpiry has an entry expire on both sides: it is there at first, is gone within a few seconds, and stays so.
func cacheExpiry(t *testing.T, ours, theirs string) {
	request := map[string]any{"url": "https://probe.example/expiry", "as": "text", "method": "GET"}
	match := []map[string]any{{"op": "match", "cache": "one", "request": request}}
	for _, side := range []struct{ name, base, host string }{{"ours", ours, oracleHost}, {"miniflare", theirs, ""}} {
		put := map[string]any{"op": "put", "cache": "one", "request": request, "response": map[string]any{"status": 200, "headers": [][]string{{"cache-control", "max-age=2"}}, "body": nil}}
		start := time.Now()
		first := oracleSteps(t, side.base, side.host, append([]map[string]any{put}, match...))[1]
		if first.(map[string]any)["status"] != 200.0 && time.Since(start) < time.Second {
			t.Errorf("%s: the entry is not there: %v", side.name, first)
		}
		for oracleSteps(t, side.base, side.host, match)[0].(map[string]any)["status"] != nil {
			if time.Since(start) > 15*time.Second {
				t.Fatalf("%s: the entry does not expire", side.name)
			}
		}
		if gone := time.Since(start); gone < time.Second {
			t.Errorf("%s: the entry expires after %v", side.name, gone)
		}
	}
}

type cacheGenerator struct{ rng *rand.Rand }

func (g cacheGenerator) one(list ...any) any { return list[g.rng.IntN(len(list))] }

func (g cacheGenerator) chance(n int) bool { return g.rng.IntN(n) == 0 }

var cacheURLs = []string{"https://example.com/", "https://example.com/a", "https://example.com/a?", "https://example.com/a?x=1", "https://example.com/a?x=2", "https://example.com/b",
	"http://example.com/a", "https://example.com:8443/a", "https://example.org/a", "https://EXAMPLE.com/a", "https://example.com/A", "https://example.com/a/", "https://example.com/a/../b",
	"https://example.com//a", "https://example.com/%61", "https://example.com/é", "https://example.com/a b", "https://example.com/a#top", "https://u:p@example.com/a", "https://example.com/a?x=\"<>",
	"https://example.com/" + strings.Repeat("u", 3000), "nonsense", "/a", "", "https://", "data:,x"}

func (g cacheGenerator) request(read bool) map[string]any {
	url := cacheURLs[g.rng.IntN(4)]
	if g.chance(6) {
		url = cacheURLs[g.rng.IntN(len(cacheURLs))]
	}
	r := map[string]any{"url": url, "as": g.one("text", "url", "request", "request", "request"), "method": "GET"}
	if g.chance(12) {
		r["method"] = g.one("HEAD", "POST", "PUT", "DELETE", "OPTIONS")
	}
	h := [][]string{}
	if g.chance(3) {
		h = append(h, []string{g.one("cache-control", "pragma", "accept", "accept-language", "x-other", "cookie").(string), g.one("no-store", "no-cache", "max-age=0", "text/html").(string)})
	}
	if g.chance(10) {
		h = append(h, []string{"authorization", "Bearer x"})
	}
	if read {
		switch g.rng.IntN(4) {
		case 0:
			h = append(h, []string{"if-none-match", g.one(`"one"`, `"two"`, `W/"one"`, `"x", "one"`, `"x","y"`, `*`, `one`, `""`).(string)})
		case 1:
			h = append(h, []string{"if-modified-since", g.one("Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT", "Wed, 31 Dec 2025 23:59:59 GMT", "Fri, 01 Jan 2100 00:00:00 GMT", "nonsense", "2026-01-01").(string)})
		case 2:
			h = append(h, []string{"range", g.one("bytes=0-3", "bytes=2-", "bytes=-5", "bytes=0-0", "bytes=3-1", "bytes=99999999-", "bytes=0-99999999", "bytes=-99999999", "bites=0-1", "bytes=", "bytes=a-b", "bytes=-", "bytes=0-1,3-4", "bytes=-0").(string)})
		}
	}
	r["headers"] = h
	return r
}

func (g cacheGenerator) step() map[string]any {
	s := map[string]any{"cache": g.one("one", "one", "one", "one", "two", "", "", "ü/ x")}
	if g.chance(6) {
		s["options"] = g.one(map[string]any{"ignoreMethod": true}, map[string]any{"ignoreMethod": false}, map[string]any{})
	}
	switch n := g.rng.IntN(10); {
	case n < 4:
		s["op"], s["request"], s["response"] = "put", g.request(false), g.response()
	case n < 9:
		s["op"], s["request"] = "match", g.request(true)
	default:
		s["op"], s["request"] = "delete", g.request(false)
	}
	return s
}

func (g cacheGenerator) response() map[string]any {
	h := [][]string{{"cache-control", g.one("max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "max-age=3600", "public, max-age=3600", "s-maxage=600", "s-maxage=600, max-age=0", "max-age=600,must-revalidate",
		"max-age=99999999999", "max-age=600, no-transform, x-unknown=1", `max-age="600"`,
		"no-store", "no-store, max-age=60", "private", "private, max-age=60", "no-cache, max-age=60", "max-age=0", "max-age=abc", "max-age=-1", "s-maxage=0, max-age=60").(string)}}
	if g.chance(8) {
		h[0] = []string{"expires", g.one(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "Fri, 01 Jan 2021 00:00:00 GMT", "0", "nonsense").(string)}
	}
	add := func(odds int, name string, values ...any) {
		if g.chance(odds) {
			h = append(h, []string{name, g.one(values...).(string)})
		}
	}
	add(2, "etag", `"one"`, `W/"one"`, `"two"`, "one")
	add(2, "last-modified", "Thu, 01 Jan 2026 00:00:00 GMT", "Fri, 02 Jan 2026 00:00:00 GMT", "nonsense")
	add(3, "content-type", "text/plain", "application/json", "text/html; charset=utf-8")
	add(12, "set-cookie", "a=b", "c=d; Secure")
	add(20, "vary", "*", "accept-encoding, *")
	add(8, "age", "0", "100", "99999")
	add(8, "x-custom", "1", "é", "a, b")
	add(8, "link", "</x>; rel=preload")
	add(12, "connection", "keep-alive", "x-custom")
	add(12, "transfer-encoding", "chunked")
	add(12, "cf-cache-status", "MISS", "HIT")
	add(12, "accept-ranges", "bytes", "none")
	add(12, "content-encoding", "identity")
	b := map[string]any{"as": g.one("text", "buffer", "stream", "chunks", "chunks"), "text": g.one("hello, world", "", "é語😀", "line\r\n\r\nline")}
	if g.chance(5) {
		b["as"], b["size"], b["seed"] = g.one("buffer", "stream", "chunks"), g.one(0, 1, 1000, 65536, 65537, 300_000), g.rng.IntN(1000)
	}
	if g.chance(25) {
		b["as"], h = "broken", [][]string{{"cache-control", "max-age=3600"}}
	}
	status := g.one(200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 203, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501, 206, 304, 101).(int)
	r := map[string]any{"status": status, "headers": h, "body": b}
	if status == 304 || status == 101 || g.chance(15) {
		r["body"] = nil
	}
	return r
}
