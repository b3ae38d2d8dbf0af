package clients_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// page checks what a customer's host answers for a path.
func (n *node) page(host, path string, status int, body string) answer {
	n.t.Helper()
	got := n.get(host, path)
	if got.Status != status || got.Body != body {
		n.t.Errorf("%s%s answers %d %q, want %d %q", host, path, got.Status, got.Body, status, body)
	}
	return got
}

// siteAnswers checks the site of testdata/site, whichever way the requests reach it.
func (n *node) siteAnswers(host string) {
	n.t.Helper()
	home := n.page(host, "/", 200, "<h1>home</h1>\n")
	for name, want := range map[string]string{"Content-Type": "text/html; charset=utf-8", "Cache-Control": "public, max-age=0, must-revalidate"} {
		if got := home.Header.Get(name); got != want {
			n.t.Errorf("%s of / is %q, want %q", name, got, want)
		}
	}
	n.page(host, "/style.css", 200, "body { color: red }\n")
	if got := n.page(host, "/no-extension", 200, "plain\n").Header["Content-Type"]; len(got) > 0 && got[0] != "" {
		n.t.Errorf("a file of no type is %q", got)
	}
	if got := n.page(host, "/docs", 307, "").Header.Get("Location"); got != "/docs/" {
		n.t.Errorf("/docs leads to %q", got)
	}
	if got := n.page(host, "/docs/", 200, "<h1>docs</h1>\n").Header.Get("X-Docs"); got != "yes" {
		n.t.Errorf("X-Docs is %q", got)
	}
	if got := n.page(host, "/old/x?y=z", 301, "").Header.Get("Location"); got != "/docs/x?y=z" {
		n.t.Errorf("/old/x leads to %q", got)
	}
	n.page(host, "/api/hello", 200, "the Worker at /api/hello")
	n.page(host, "/api/static/data.txt", 200, "static api\n")
	asset := n.page(host, "/api/asset", 200, "the Worker found: <h1>docs</h1>\n")
	if asset.Header.Get("Etag") == "" {
		n.t.Error("env.ASSETS.fetch() gives no ETag")
	}
	// Rules of run_worker_first make not_found_handling go before the Worker for what they do not name.
	n.page(host, "/nowhere", 404, "<h1>not here</h1>\n")
	for _, ignored := range []string{"/draft.txt", "/_headers", "/_redirects", "/.assetsignore"} {
		n.page(host, ignored, 404, "<h1>not here</h1>\n")
	}
}

// wrangler deploy --dispatch-namespace with assets.directory: first, again, with a change, and with nothing but assets.
func TestWranglerAssets(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	w := n.wrangler("site")
	const host = "customer-site." + zone

	out := w.ok("deploy", "--dispatch-namespace", "production")
	matches(t, out, `Found 6 new or modified static assets to upload`)
	matches(t, out, `Success! Uploaded 6 files`)
	n.siteAnswers(host)

	matches(t, w.ok("deploy", "--dispatch-namespace", "production"), `No updated asset files to upload`)
	n.siteAnswers(host)

	w.write("public/style.css", "body { color: green }\n")
	matches(t, w.ok("deploy", "--dispatch-namespace", "production"), `Found 1 new or modified static asset to upload`)
	n.page(host, "/style.css", 200, "body { color: green }\n")
	n.page(host, "/", 200, "<h1>home</h1>\n")

	// A customer of the same namespace with the same files uploads none of them, and has the Worker's types.
	out = w.ok("deploy", "--dispatch-namespace", "production", "--name", "customer-twin")
	matches(t, out, `No updated asset files to upload`)
	n.page("customer-twin."+zone, "/style.css", 200, "body { color: green }\n")

	// Without a Worker nothing is left of its API.
	w.edit("wrangler.jsonc", `"main": "src/index.js",`, ``)
	w.edit("wrangler.jsonc", `"binding": "ASSETS",`, ``)
	w.edit("wrangler.jsonc", `"404-page",`, `"single-page-application"`)
	w.edit("wrangler.jsonc", `"run_worker_first": ["/api/*", "!/api/static/*"]`, ``)
	w.ok("deploy", "--dispatch-namespace", "production")
	n.page(host, "/", 200, "<h1>home</h1>\n")
	n.page(host, "/api/hello", 200, "<h1>home</h1>\n")
	n.page(host, "/docs/", 200, "<h1>docs</h1>\n")
	var script struct {
		Script struct {
			HasAssets  bool `json:"has_assets"`
			HasModules bool `json:"has_modules"`
		}
	}
	n.result("GET", n.script("customer-site"), "", "", &script)
	if !script.Script.HasAssets || script.Script.HasModules {
		t.Errorf("the script is %+v", script)
	}
}

// An ordinary Worker with assets, reached by a route: the edge serves it itself.
func TestWranglerOrdinaryAssets(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("site")
	w.edit("wrangler.jsonc", `"main":`, fmt.Sprintf(`"routes": [{ "pattern": "site.%s/*", "zone_name": %q }], "main":`, zone, zone))
	w.ok("deploy")
	n.siteAnswers("site." + zone)
	matches(t, w.ok("deploy"), `No updated asset files to upload`)
	n.siteAnswers("site." + zone)

	w.edit("wrangler.jsonc", `"main": "src/index.js",`, ``)
	w.edit("wrangler.jsonc", `"binding": "ASSETS",`, ``)
	w.edit("wrangler.jsonc", `"404-page",`, `"404-page"`)
	w.edit("wrangler.jsonc", `"run_worker_first": ["/api/*", "!/api/static/*"]`, ``)
	w.ok("deploy")
	n.page("site."+zone, "/", 200, "<h1>home</h1>\n")
	n.page("site."+zone, "/api/hello", 404, "<h1>not here</h1>\n")
}

// What the edge adds to the files: compression, ranges, conditional requests; and that a dispatch Worker passes them on.
func TestAssetsOverHTTP(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	w := n.wrangler("site")
	text := strings.Repeat("some text that compresses well\n", 1000)
	w.write("public/big.txt", text)
	w.ok("deploy", "--dispatch-namespace", "production")
	w.edit("wrangler.jsonc", `"main":`, fmt.Sprintf(`"routes": [{ "pattern": "site.%s/*", "zone_name": %q }], "main":`, zone, zone))
	w.ok("deploy")
	for _, host := range []string{"site." + zone, "customer-site." + zone} {
		ask := func(method string, headers map[string]string) answer {
			req, err := newRequest(method, n.edge+"/big.txt", "", headers)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = host
			return n.do(req)
		}
		plain := ask("GET", map[string]string{"Accept-Encoding": "identity"})
		tag := plain.Header.Get("Etag")
		if plain.Body != text || len(tag) != 34 || plain.Header.Get("Accept-Ranges") != "bytes" {
			t.Errorf("%s: %d bytes, %v", host, len(plain.Body), plain.Header)
		}
		packed := ask("GET", map[string]string{"Accept-Encoding": "gzip"})
		r, err := gzip.NewReader(strings.NewReader(packed.Body))
		if err != nil {
			t.Fatalf("%s: %v: %v", host, err, packed.Header)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != text || packed.Header.Get("Content-Encoding") != "gzip" ||
			packed.Header.Get("Etag") != "W/"+tag || packed.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: compressed: %v, %v", host, err, packed.Header)
		}
		for name, c := range map[string]struct {
			headers map[string]string
			status  int
			body    string
		}{
			"a part":            {map[string]string{"Range": "bytes=5-8"}, 206, text[5:9]},
			"the end":           {map[string]string{"Range": "bytes=-5"}, 206, text[len(text)-5:]},
			"a part of this":    {map[string]string{"Range": "bytes=5-8", "If-Range": tag}, 206, text[5:9]},
			"a part of another": {map[string]string{"Range": "bytes=5-8", "If-Range": `"x"`}, 200, text},
			"a part beyond it":  {map[string]string{"Range": "bytes=99999-"}, 416, ""},
			"the same":          {map[string]string{"If-None-Match": tag}, 304, ""},
			"the same, weakly":  {map[string]string{"If-None-Match": "W/" + tag}, 304, ""},
			"not the same":      {map[string]string{"If-None-Match": `"x"`}, 200, text},
		} {
			c.headers["Accept-Encoding"] = "identity"
			if got := ask("GET", c.headers); got.Status != c.status || got.Body != c.body {
				t.Errorf("%s: %s: %d with %d bytes", host, name, got.Status, len(got.Body))
			}
		}
		if got := ask("HEAD", map[string]string{"Accept-Encoding": "identity"}); got.Status != 200 || got.Body != "" || got.Header.Get("Content-Length") != fmt.Sprint(len(text)) {
			t.Errorf("%s: HEAD: %d %v", host, got.Status, got.Header)
		}
		if got := ask("POST", nil); got.Status != 405 || got.Body != "" {
			t.Errorf("%s: POST: %d %q", host, got.Status, got.Body)
		}
	}
}

// A site of 2,000 files goes up, and again with one file changed, which is then the only one that goes.
func TestWranglerAssetsMany(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	w := n.wrangler("site")
	for i := range 2000 {
		dir := filepath.Join(w.dir, "public", fmt.Sprintf("d%d", i%40))
		if err := os.MkdirAll(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		w.write(fmt.Sprintf("public/d%d/page%d.html", i%40, i), fmt.Sprintf("<p>page %d</p>\n", i))
	}
	matches(t, w.ok("deploy", "--dispatch-namespace", "production"), `Success! Uploaded 2006 files`)
	const host = "customer-site." + zone
	for _, i := range []int{0, 999, 1999} {
		n.page(host, fmt.Sprintf("/d%d/page%d", i%40, i), 200, fmt.Sprintf("<p>page %d</p>\n", i))
	}
	w.write("public/d39/page1999.html", "changed\n")
	matches(t, w.ok("deploy", "--dispatch-namespace", "production"), `Success! Uploaded 1 file \(2005 already uploaded\)`)
	n.page(host, "/d39/page1999", 200, "changed\n")
	n.page(host, "/d0/page0", 200, "<p>page 0</p>\n")
}

// The brief's three calls: a session, an upload, a deploy. The last, as written, loses half of its module to curl, which
// takes the semicolon in it for its own; the node has to say so, and the same with a file works.
func TestCurlAssets(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"ours", "brief"} {
		if source == "brief" && os.Getenv("ATOLL_BRIEF") == "" {
			continue
		}
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			n := startNode(t)
			n.platform()
			content := strings.Repeat("<p>hello</p>", 102) + "\n 1234 bytes"[:10]
			calls := assetCalls(t, source)
			run := func(call string, env ...string) envelope {
				t.Helper()
				s := n.shell(source, "")
				call = strings.NewReplacer("https://api.cloudflare.com", n.api, "<BASE64_CONTENT>", base64.StdEncoding.EncodeToString([]byte(content))).Replace(call)
				cmd := exec.CommandContext(t.Context(), "bash", "-euc", call)
				cmd.Dir, cmd.Env = s.dir, append(s.env, env...)
				if err := os.WriteFile(filepath.Join(s.dir, "index.js"), []byte(`export default { async fetch(request, env) { return env.ASSETS.fetch(request); } };`), 0o666); err != nil {
					t.Fatal(err)
				}
				out, _ := cmd.Output() // curl fails with the status, after the answer
				var e envelope
				if err := json.NewDecoder(bytes.NewReader(out)).Decode(&e); err != nil {
					t.Fatalf("%v: %s\nof %s", err, out, call)
				}
				return e
			}
			var session struct {
				JWT     string
				Buckets [][]string
			}
			decode(t, run(calls[0]), &session)
			if len(session.Buckets) != 1 {
				t.Fatalf("buckets: %v", session.Buckets)
			}
			var done struct{ JWT string }
			decode(t, run(calls[1], "UPLOAD_JWT="+session.JWT), &done)
			deploy := strings.ReplaceAll(calls[2], "<COMPLETION_TOKEN>", done.JWT)
			if e := run(deploy); e.Success || e.Errors[0].Code != 10021 || !strings.Contains(e.Errors[0].Message, "SyntaxError") {
				t.Errorf("the truncated module: %+v", e)
			}
			from, to := strings.Index(deploy, "index.js=export"), strings.LastIndex(deploy, ";type=")
			decode(t, run(deploy[:from]+"index.js=@index.js"+deploy[to:]), nil)
			n.page("curled."+zone, "/", 200, content)
		})
	}
}

func decode(t *testing.T, e envelope, out any) {
	t.Helper()
	if !e.Success {
		t.Fatalf("refused: %+v", e.Errors)
	}
	if out != nil {
		if err := json.Unmarshal(e.Result, out); err != nil {
			t.Fatal(err)
		}
	}
}

// assetCalls are the three calls, in our words or the brief's.
func assetCalls(t *testing.T, source string) []string {
	t.Helper()
	file := "testdata/curl/assets.sh"
	if source == "brief" {
		file = os.Getenv("ATOLL_BRIEF")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if source == "brief" {
		_, text, _ = strings.Cut(text, "## Static Assets\n")
		_, text, _ = strings.Cut(text, "```bash\n")
		text, _, _ = strings.Cut(text, "```")
	}
	var calls []string
	for _, part := range strings.Split(text, "curl -X ")[1:] {
		call, _, _ := strings.Cut("curl -X "+part, "\n\n")
		calls = append(calls, call)
	}
	if len(calls) != 3 {
		t.Fatalf("%s has %d calls, want 3", file, len(calls))
	}
	return calls
}

// Each major of the TypeScript SDK that can upload assets.
func TestTypeScriptSDKAssets(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	for major := 4; major <= 7; major++ {
		cmd := exec.CommandContext(t.Context(), "node_modules/.bin/node", "sdk/assets.mjs", fmt.Sprint(major))
		cmd.Env = append(cleanEnv(), "BASE_URL="+n.base(), "EDGE_URL="+n.edge, "API_TOKEN="+n.token, "ACCOUNT="+n.account, "ZONE="+zone)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("major %d: %v\n%s", major, err, out)
			continue
		}
		n.page(fmt.Sprintf("sdk-%d.%s", major, zone), "/", 200, fmt.Sprintf("<h1>by major %d</h1>", major))
	}
}
