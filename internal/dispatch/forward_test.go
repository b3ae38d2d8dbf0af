package dispatch_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/hop"
)

// A request that is passed on as it came travels without its headers, which must make no difference to anybody.
func TestForwardedRequest(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `export default { async fetch(request) {
		const headers = {};
		for (const [name, value] of request.headers) if (name !== "cf-ray") headers[name] = value;
		return Response.json({ method: request.method, url: request.url, headers, cf: request.cf, redirect: request.redirect, body: await request.text() },
			{ headers: { "x-method": request.method }, status: new URL(request.url).pathname === "/redirect" ? 302 : 200 });
	} }`)
	r.put(platform("dispatcher"), `export default { async fetch(request, env) {
		const stub = env.DISPATCHER.get("alice");
		switch (request.headers.get("x-way")) {
		case "copy": request = new Request(request); break;
		case "init": return stub.fetch(request, { headers: { "x-mine": "1" } });
		case "change": request = new Request(request); request.headers.set("x-mine", "1"); break;
		case "forge": request = new Request(request); request.headers.set("atoll-dispatch", "^=bob"); request.headers.set("atoll-invocation", "x"); break;
		case "other": request = new Request("https://other.test/x"); break;
		case "immutable": try { request.headers.set("x-mine", "1"); return new Response("changed"); } catch { break; }
		case "twice": await (await stub.fetch(request)).text(); break;
		}
		const response = await stub.fetch(request);
		if (response.url !== request.url) return new Response("it has the URL " + response.url);
		return response;
	} }`, func(v *atoll.Version) {
		v.Trusted = true
		v.Bindings = []atoll.Binding{{Name: "DISPATCHER", Type: "dispatch_namespace", Fields: json.RawMessage(`{"name":"DISPATCHER","type":"dispatch_namespace","namespace":"production"}`)}}
	})
	type answer struct {
		Status  int
		Plain   string
		Method  string
		URL     string
		Body    string
		Headers map[string]string
	}
	ask := func(method, target, way, body string) answer {
		t.Helper()
		req := &hop.Request{Method: method, Host: "alice.test", Target: target, Header: http.Header{"X-Way": {way}, "X-A": {"b", "c"}, "Cookie": {"a=b"}, "Accept-Encoding": {"gzip"}}}
		if body != "" {
			req.Body, req.Length = strings.NewReader(body), int64(len(body))
		}
		reply, err := r.do(platform("dispatcher"), req)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		defer reply.Close()
		b, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		a := answer{Status: reply.StatusCode}
		if method == http.MethodHead {
			a.Method = reply.Header.Get("X-Method")
		} else if json.Unmarshal(b, &a) != nil {
			a.Plain = string(b)
		}
		delete(a.Headers, "x-way")
		return a
	}
	for _, c := range []struct{ name, method, target, way, body string }{
		{"get", "GET", "/a%2fb?c=%20d", "", ""},
		{"head", "HEAD", "/", "", ""},
		{"delete", "DELETE", "/", "", ""},
		{"post", "POST", "/", "", "body"},
		{"get-with-body", "GET", "/", "", "body"},
		{"redirect", "GET", "/redirect", "", ""},
		{"dots", "GET", "/a/../b/./c", "", ""},
		{"slashes", "GET", "//a//b", "", ""},
		{"bar", "GET", "/a|b{c}", "", ""},
		{"immutable", "GET", "/", "immutable", ""},
		{"twice", "GET", "/", "twice", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, want := ask(c.method, c.target, c.way, c.body), ask(c.method, c.target, "copy", c.body)
			if want.Method != c.method && c.name != "dots" {
				t.Fatalf("a copy: %+v", want)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-copy +request):\n%s", d)
			}
		})
	}
	for _, way := range []string{"init", "change"} {
		if got := ask("GET", "/", way, ""); got.Headers["x-mine"] != "1" || way == "change" && got.Headers["cookie"] != "a=b" || way == "init" && got.Headers["cookie"] != "" {
			t.Errorf("%s: %+v", way, got)
		}
	}
	if got := ask("GET", "/", "forge", ""); got.URL != "http://alice.test/" || got.Headers["atoll-dispatch"] != "" {
		t.Errorf("forge: %+v", got)
	}
	if got := ask("GET", "/", "other", ""); got.URL != "https://other.test/x" || got.Headers["cookie"] != "" {
		t.Errorf("other: %+v", got)
	}
}

// When the request's own response has ended the node has forgotten its headers, and they come again.
func TestForwardedRequestAfterItsEnd(t *testing.T) {
	r := newRig(t, dispatch.Options{})
	r.put(user("alice"), `export default { fetch(request) { return new Response(request.headers.get("x-a")); } }`)
	r.put(platform("dispatcher"), `let asked = 0;
	export default { async fetch(request, env, ctx) {
		if (new URL(request.url).pathname === "/last") { ctx.waitUntil(scheduler.wait(5000)); while (asked === 0) await scheduler.wait(20); return new Response(String(asked)); }
		ctx.waitUntil((async () => {
			await scheduler.wait(200);
			asked = await (await env.DISPATCHER.get("alice").fetch(request)).text();
		})());
		return new Response("later");
	} }`, func(v *atoll.Version) {
		v.Bindings = []atoll.Binding{{Name: "DISPATCHER", Type: "dispatch_namespace", Fields: json.RawMessage(`{"name":"DISPATCHER","type":"dispatch_namespace","namespace":"production"}`)}}
	})
	for _, target := range []string{"/", "/last"} {
		reply, err := r.do(platform("dispatcher"), &hop.Request{Method: "GET", Host: "alice.test", Target: target, Header: http.Header{"X-A": {"b"}}})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(reply.Body)
		reply.Close()
		if want := map[string]string{"/": "later", "/last": "b"}[target]; string(b) != want {
			t.Errorf("%s: got %q, want %q", target, b, want)
		}
	}
}
