package node_test

import (
	"net/url"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/node"
)

// caching is a Worker that does with its caches what the request says, and answers as text what came of it.
const caching = `
export default { async fetch(request, env) {
	const q = new URL(request.url).searchParams;
	const of = (name) => JSON.parse(q.get(name) ?? "{}");
	const key = new Request(q.get("url"), { headers: of("request"), method: q.get("method") ?? "GET" });
	const tell = async (r) => r === undefined ? "miss" : r.status + " " + (q.get("tell") ?? "").split(",").filter(Boolean).map((n) => n + "=" + r.headers.get(n)).join(" ") + " " + (await r.text()).slice(0, 40);
	try {
	const cache = q.has("cache") ? await caches.open(q.get("cache")) : caches.default;
	switch (q.get("do")) {
	case "put": {
		const n = Number(q.get("repeat") ?? 1);
		const headers = new Headers(of("headers"));
		for (const c of of("cookies").list ?? []) headers.append("set-cookie", c);
		const text = q.get("body")?.repeat(n);
		const body = q.has("stream") ? new Response(text).body : text;
		return new Response("put " + await cache.put(key, new Response(body, { headers, status: Number(q.get("status") ?? 200) })));
	}
	case "broken": {
		const { readable, writable } = new TransformStream();
		const w = writable.getWriter();
		const stored = cache.put(key, new Response(readable, { headers: of("headers") }));
		await w.write(new TextEncoder().encode("half"));
		w.abort(new Error("broken")).catch(() => {});
		await stored.catch(() => {});
		return new Response("broken");
	}
	case "match": return new Response(await tell(await cache.match(key, of("options"))));
	case "delete": return new Response("" + await cache.delete(key, of("options")));
	} } catch (e) { return new Response(e.name + ": " + e.message); }
} }`

// cached calls a Worker of the source above.
func (r *rig) cached(host string, pairs ...string) string {
	r.t.Helper()
	q := url.Values{"url": {"https://example.com/thing?a=b"}}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	_, body := r.get(host, "/?"+q.Encode())
	return body
}

func TestCacheAPI(t *testing.T) {
	r := newRig(t, node.Config{})
	for _, name := range []string{"alice", "bob"} {
		r.put("production/"+name, caching)
	}
	r.dispatcher(bySubdomain, nil)
	want := func(host, want string, pairs ...string) {
		t.Helper()
		if got := r.cached(host, append(pairs, "cache", "one")...); got != want {
			t.Errorf("%s %q: %.100q, want %.100q", host, pairs, got, want)
		}
	}
	const minute = `{"cache-control":"max-age=60","etag":"\"v1\"","last-modified":"Sat, 28 Nov 2020 12:00:00 GMT","content-type":"text/x"}`
	want("alice", "miss", "do", "match")
	want("alice", "put undefined", "do", "put", "body", "hello", "headers", minute)
	want("alice", "200 cf-cache-status=HIT age=0 content-type=text/x hello", "do", "match", "tell", "cf-cache-status,age,content-type")
	want("alice", "miss", "do", "match", "url", "https://example.com/thing")
	want("alice", "miss", "do", "match", "url", "http://example.com/thing?a=b")
	want("alice", "miss", "do", "match", "url", "https://example.org/thing?a=b")

	// Conditions and ranges.
	want("alice", `304 etag="v1" `, "do", "match", "request", `{"if-none-match":"\"v1\""}`, "tell", "etag")
	want("alice", "200  hello", "do", "match", "request", `{"if-none-match":"\"v2\""}`)
	want("alice", "304  ", "do", "match", "request", `{"if-modified-since":"Sat, 28 Nov 2020 12:00:00 GMT"}`)
	want("alice", "206 content-range=bytes 1-3/5 ell", "do", "match", "request", `{"range":"bytes=1-3"}`, "tell", "content-range")

	// Methods.
	want("alice", "miss", "do", "match", "method", "POST")
	want("alice", "200  hello", "do", "match", "method", "POST", "options", `{"ignoreMethod":true}`)
	want("alice", "TypeError: Cannot cache response to non-GET request.", "do", "put", "method", "POST")
	want("alice", "TypeError: Cannot cache response to a range request (206 Partial Content).", "do", "put", "status", "206")
	want("alice", "TypeError: Cannot cache response with 'Vary: *' header.", "do", "put", "headers", `{"vary":"*"}`)
	want("alice", "false", "do", "delete", "method", "POST")

	// Nobody else has it, and the other cache of the same name is bob's.
	want("bob", "miss", "do", "match")
	want("bob", "false", "do", "delete")
	want("bob", "put undefined", "do", "put", "body", "bob's", "headers", minute)
	want("alice", "200  hello", "do", "match")
	if got := r.cached("alice", "do", "match", "cache", "two"); got != "miss" {
		t.Errorf("in another cache: %q", got)
	}
	for _, name := range []string{"two", "käse / %2f", strings.Repeat("n", 1000)} {
		r.cached("alice", "do", "put", "cache", name, "body", name)
		if got := r.cached("alice", "do", "match", "cache", name); got != "200  "+string([]rune(name)[:min(len([]rune(name)), 40)]) {
			t.Errorf("in the cache %.20q: %q", name, got)
		}
	}
	if got := r.cached("alice", "do", "match"); !strings.Contains(got, "caches.default is not available") {
		t.Errorf("the default cache: %q", got)
	}

	// What is not stored does not replace what is.
	for _, headers := range []string{`{"cache-control":"no-store"}`, `{"cache-control":"private"}`} {
		want("alice", "put undefined", "do", "put", "body", "new", "headers", headers)
	}
	want("alice", "put undefined", "do", "put", "body", "new", "cookies", `{"list":["a=b","c=d"]}`)
	want("alice", "put undefined", "do", "put", "status", "304")
	want("alice", "broken", "do", "broken", "headers", minute)
	want("alice", "200  hello", "do", "match")

	// What is stale at once does.
	for _, headers := range []string{`{"cache-control":"max-age=0"}`, `{"expires":"0"}`} {
		want("alice", "put undefined", "do", "put", "body", "new", "headers", headers)
		want("alice", "miss", "do", "match")
		want("alice", "put undefined", "do", "put", "body", "hello", "headers", minute)
	}
	want("alice", "put undefined", "do", "put", "body", "new", "cookies", `{"list":["a=b"]}`, "headers", `{"cache-control":"max-age=60, private=Set-Cookie"}`)
	want("alice", "200 set-cookie=null new", "do", "match", "tell", "set-cookie")

	// Vary.
	want("alice", "put undefined", "do", "put", "body", "deutsch", "url", "https://x.test/", "headers", `{"vary":"accept-language"}`, "request", `{"accept-language":"de"}`)
	want("alice", "200  deutsch", "do", "match", "url", "https://x.test/", "request", `{"accept-language":"de"}`)
	want("alice", "miss", "do", "match", "url", "https://x.test/", "request", `{"accept-language":"en"}`)

	// Large ones, with and without a known length; other statuses.
	for _, stream := range []string{"stream", "whole"} {
		want("alice", "put undefined", "do", "put", "body", "0123456789", "repeat", "300000", "url", "https://x.test/"+stream, stream, "")
		want("alice", "206 content-range=bytes 2999995-2999999/3000000 56789", "do", "match", "url", "https://x.test/"+stream, "request", `{"range":"bytes=-5"}`, "tell", "content-range")
		want("alice", "200  "+strings.Repeat("0123456789", 4), "do", "match", "url", "https://x.test/"+stream)
	}
	want("alice", "put undefined", "do", "put", "body", "gone", "status", "404", "url", "https://x.test/404")
	want("alice", "404  gone", "do", "match", "url", "https://x.test/404")

	// A new version finds what the old one has stored; a new script of the same name does not.
	r.put("production/alice", caching+"\n// again")
	want("alice", "200  new", "do", "match")
	r.call("DELETE", r.acct("/workers/dispatch/namespaces/production/scripts/alice"), "", nil)
	r.put("production/alice", caching)
	want("alice", "miss", "do", "match")

	want("bob", "true", "do", "delete")
	want("bob", "false", "do", "delete")
	want("bob", "miss", "do", "match")
}

// The Workers of a trusted namespace have their caches in common, the default one among them; those of the account have not.
func TestCachesOfTrustedWorkers(t *testing.T) {
	r := newRig(t, node.Config{})
	r.call("PUT", r.acct("/workers/dispatch/namespaces/production"), `{"name":"production","trusted_workers":true}`, nil)
	r.call("POST", r.acct("/workers/dispatch/namespaces"), `{"name":"other","trusted_workers":true}`, nil)
	for _, script := range []string{"production/alice", "production/bob", "other/carol"} {
		r.put(script, caching)
	}
	r.put("dispatcher", `
		const own = (() => {`+strings.Replace(caching, "export default", "return", 1)+`})();
		export default { fetch(request, env) {
			const name = new URL(request.url).hostname.split(".")[0];
			if (name === "dispatcher") return own.fetch(request, env);
			return env[name === "carol" ? "OTHER" : "PRODUCTION"].get(name).fetch(request);
		} }`,
		map[string]any{"type": "dispatch_namespace", "name": "PRODUCTION", "namespace": "production"},
		map[string]any{"type": "dispatch_namespace", "name": "OTHER", "namespace": "other"})
	r.put("second", caching)
	r.route("*."+zone+"/*", "dispatcher")
	r.route("second."+zone+"/*", "second")
	for _, name := range []string{"alice", "bob", "carol", "dispatcher", "second"} {
		if got := r.cached(name, "do", "match"); name != "bob" && got != "miss" || name == "bob" && got != "200  alice" {
			t.Errorf("%s, first: %q", name, got)
		}
		if name != "bob" {
			if got := r.cached(name, "do", "put", "body", name); got != "put undefined" {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	for name, want := range map[string]string{"alice": "alice", "bob": "alice", "carol": "carol", "dispatcher": "dispatcher", "second": "second"} {
		if got := r.cached(name, "do", "match"); got != "200  "+want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
