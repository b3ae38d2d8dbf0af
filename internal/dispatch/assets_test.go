package dispatch_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/assets"
	"atoll.dev/atoll/internal/assets/assetstest"
	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/dispatch"
	"atoll.dev/atoll/internal/durable"
	"atoll.dev/atoll/internal/hop"
	"atoll.dev/atoll/internal/isolate"
)

// siteRig is a rig whose scripts may have assets.
type siteRig struct {
	*rig
	blobs *durable.Blobs
}

func newSiteRig(t *testing.T) *siteRig {
	t.Helper()
	blobs, err := durable.OpenBlobs(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &siteRig{newRig(t, dispatch.Options{Sites: assets.NewSites(nil, blobs, assets.Options{})}), blobs}
}

// with gives a version assets.
func (r *siteRig) with(files map[string]string, config atoll.AssetsConfig) func(*atoll.Version) {
	return func(v *atoll.Version) { v.Assets = assetstest.Deploy(r.t, r.blobs, files, config) }
}

// withoutCode takes a version's code.
func withoutCode(v *atoll.Version) { v.MainModule, v.Modules = "", nil }

// answer is the status and the body of an answer, or the error.
func (r *siteRig) answer(ref atoll.ScriptRef, target string, header ...string) (int, string) {
	r.t.Helper()
	req := &hop.Request{Method: "GET", Target: target, Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	reply, err := r.do(ref, req)
	if err != nil {
		return 0, err.Error()
	}
	defer reply.Close()
	b, err := io.ReadAll(reply.Body)
	if err != nil {
		r.t.Errorf("%s: %v", target, err)
	}
	return reply.StatusCode, string(b)
}

func (r *siteRig) answers(ref atoll.ScriptRef, target string, status int, body string, header ...string) {
	r.t.Helper()
	if got, text := r.answer(ref, target, header...); got != status || text != body {
		r.t.Errorf("%s: %d %q, want %d %q", target, got, text, status, body)
	}
}

func TestAssets(t *testing.T) {
	r := newSiteRig(t)
	big := strings.Repeat("0123456789abcdef", 100_000)
	files := map[string]string{"/index.html": "home", "/dir/page.html": "a page", "/big.bin": big}

	// A site without code never has a process, and changes with its version.
	site := user("site")
	r.put(site, "", withoutCode, r.with(files, atoll.AssetsConfig{}))
	r.answers(site, "/", 200, "home")
	r.answers(site, "/dir/page", 200, "a page")
	r.answers(site, "/big.bin", 200, big)
	r.answers(site, "/nope", 404, "")
	r.put(site, "", withoutCode, r.with(map[string]string{"/index.html": "new"}, atoll.AssetsConfig{NotFoundHandling: "single-page-application"}))
	r.answers(site, "/", 200, "new")
	r.answers(site, "/dir/page", 200, "new")
	var e *dispatch.Exception
	if _, err := r.Event(t.Context(), site, map[string]any{"type": "scheduled"}); !errors.As(err, &e) || e.Message != "Handler does not export a scheduled() function." {
		t.Errorf("an event: %v", err)
	}
	if _, err := r.Do(t.Context(), dispatch.Call{Script: site, Entrypoint: "Admin", Request: &hop.Request{Method: "GET", Target: "/"}}); !errors.As(err, &e) || !strings.Contains(e.Message, "Admin") {
		t.Errorf("an entrypoint: %v", err)
	}

	// With code, what no file answers is the Worker's; the files themselves do not wake it.
	const code = `export default {
		async fetch(r, env) {
			const path = new URL(r.url).pathname;
			if (path === "/asset") return env.ASSETS.fetch("http://any/dir/page" + new URL(r.url).search);
			if (path.endsWith("/_next/image")) return new Response("an image?", { headers: { "content-type": new URL(r.url).searchParams.get("type") } });
			return new Response("worker " + path);
		},
		scheduled() {},
	}; export class Admin { fetch() { return new Response("admin"); } }`
	bound := func(v *atoll.Version) {
		v.Bindings = []atoll.Binding{{Name: "ASSETS", Type: "assets", Fields: []byte(`{"name":"ASSETS","type":"assets"}`)}}
	}
	both := user("both")
	r.put(both, code, bound, r.with(files, atoll.AssetsConfig{WorkerFirstRules: []string{"/first/*"}}))
	r.answers(both, "/", 200, "home")
	if reply, err := r.do(both, &hop.Request{Method: "GET", Target: "/dir/page"}); err != nil || reply.Header.Get(isolate.HeaderResponse) != "" || reply.Header.Get("Cf-Cache-Status") == "" {
		t.Errorf("a file: %v", err)
	} else {
		reply.Close()
	}
	r.answers(both, "/worker", 200, "worker /worker")
	r.answers(both, "/first/", 200, "worker /first/")
	r.answers(both, "/asset", 200, "a page")
	r.answers(both, "/_image?href=//evil.com/x", 403, "Blocked")
	r.answers(both, "/_image?href=//evil.com/x", 200, "worker /_image", "Sec-Fetch-Dest", "image")
	r.answers(both, "/_next/image?url=http://evil.com&type=text/html", 403, "Blocked")
	r.answers(both, "/_next/image?url=http://evil.com&type=image/png", 200, "an image?")
	r.answers(both, "/_next/image?url=/own.png&type=text/html", 200, "an image?")
	if _, err := r.Event(t.Context(), both, map[string]any{"type": "scheduled"}); err != nil {
		t.Errorf("an event: %v", err)
	}
	if reply, err := r.Do(t.Context(), dispatch.Call{Script: both, Entrypoint: "Admin", Proto: "http", Request: &hop.Request{Method: "GET", Target: "/", Host: "x"}}); err != nil {
		t.Errorf("an entrypoint: %v", err)
	} else {
		if b, _ := io.ReadAll(reply.Body); string(b) != "admin" {
			t.Errorf("an entrypoint answers %q", b)
		}
		reply.Close()
	}
	// A subrequest that passes through an outbound Worker is none for the outbound Worker's own files.
	reply, err := r.Do(t.Context(), dispatch.Call{Script: both, OnBehalf: true, Proto: "http", Request: &hop.Request{Method: "GET", Target: "/dir/page", Host: "elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(reply.Body); string(b) != "worker /dir/page" {
		t.Errorf("on behalf: %q", b)
	}
	reply.Close()
}

// What a Worker reads of a compressed file is the file.
func TestAssetsCompressed(t *testing.T) {
	r := newSiteRig(t)
	text := strings.Repeat("compresses well ", 200)
	r.put(user("site"), "", withoutCode, r.with(map[string]string{"/a.txt": text}, atoll.AssetsConfig{}))
	front := platform("front")
	r.put(front, `export default { async fetch(request, env) {
		const response = await env.D.get("site").fetch(request);
		const body = await response.text();
		return new Response([response.headers.get("content-encoding"), body.length, body.slice(0, 16)].join("|"));
	} }`, func(v *atoll.Version) {
		v.Bindings = []atoll.Binding{{Name: "D", Type: "dispatch_namespace", Fields: []byte(`{"name":"D","type":"dispatch_namespace","namespace":"production"}`)}}
	})
	r.answers(front, "/a.txt", 200, "gzip|3200|compresses well ", "Accept-Encoding", "gzip, zstd")
	r.answers(front, "/a.txt", 200, "|3200|compresses well ")
}
