package clients_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// example copies a project of examples/ to where wrangler may write.
func (n *node) example(project string) *wrangler {
	n.t.Helper()
	w := n.wrangler("")
	if err := os.CopyFS(w.dir, os.DirFS(filepath.Join(root, "examples", project))); err != nil {
		n.t.Fatal(err)
	}
	return w
}

// sends sends a request to a host of the edge; headers are pairs.
func (n *node) sends(method, host, path, body string, headers ...string) answer {
	n.t.Helper()
	req, err := http.NewRequest(method, n.edge+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = host + "." + zone
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return n.do(req)
}

// The example of KV, deployed by wrangler as its comments say.
func TestExampleKV(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.example("bindings/kv")
	w.ok("kv", "namespace", "create", "links")
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(jsonIn(w.ok("kv", "namespace", "list"))), &list); err != nil || len(list) != 1 {
		t.Fatalf("namespaces: %v %v", list, err)
	}
	w.edit("wrangler.jsonc", "<id of the namespace>", list[0].ID)
	w.ok("deploy")
	for name, path := range map[string]string{"news": "/news?days=7", "a b": "/a%20b"} {
		if got := n.sends("PUT", "links", path, "https://example.com/"+name); got.Status != 201 || !strings.HasPrefix(got.Body, "http") {
			t.Errorf("%s: %d %q", name, got.Status, got.Body)
		}
	}
	if got := n.sends("GET", "links", "/news", ""); got.Status != 302 || got.Header.Get("Location") != "https://example.com/news" {
		t.Errorf("news: %d %v", got.Status, got.Header)
	}
	var page struct {
		Links []struct {
			Name, Host string
			Expiration int64
		}
		Cursor *string
	}
	got := n.sends("GET", "links", "/", "")
	if err := json.Unmarshal([]byte(got.Body), &page); err != nil || len(page.Links) != 2 || page.Links[0].Name != "a b" || page.Links[0].Expiration != 0 ||
		page.Links[1].Name != "news" || page.Links[1].Host != "example.com" || page.Links[1].Expiration == 0 || page.Cursor != nil {
		t.Errorf("list: %v in %s", err, got.Body)
	}
	if got := n.sends("PUT", "links", "/"+strings.Repeat("x", 513), "https://example.com/"); got.Status != 400 || !strings.Contains(got.Body, "512") {
		t.Errorf("a long name: %d %q", got.Status, got.Body)
	}
	n.sends("DELETE", "links", "/news", "")
	if got := n.sends("GET", "links", "/news", ""); got.Status != 404 {
		t.Errorf("after DELETE: %d %q", got.Status, got.Body)
	}
}

// The example of the Cache API, deployed by wrangler, and then again: what is cached outlives a version.
func TestExampleCache(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.example("bindings/cache")
	w.ok("deploy")
	first := n.sends("GET", "reports", "/q3?utm_source=x", "")
	if first.Status != 200 || !strings.HasPrefix(first.Body, "report /q3") {
		t.Fatalf("%d %q", first.Status, first.Body)
	}
	w.edit("src/index.js", "a minute at the most", "minute at the most")
	w.ok("deploy")
	again := n.sends("GET", "reports", "/q3", "")
	if again.Body != first.Body || again.Header.Get("Cf-Cache-Status") != "HIT" {
		t.Errorf("%v %q, at first %q", again.Header, again.Body, first.Body)
	}
	if got := n.sends("GET", "reports", "/q3", "", "If-None-Match", first.Header.Get("Etag")); got.Status != 304 {
		t.Errorf("with its etag: %d", got.Status)
	}
	if got := n.sends("GET", "reports", "/q3", "", "Range", "bytes=0-5"); got.Status != 206 || got.Body != "report" {
		t.Errorf("a range: %d %q", got.Status, got.Body)
	}
	for _, want := range []string{"forgotten\n", "was not there\n"} {
		if got := n.sends("DELETE", "reports", "/q3", ""); got.Body != want {
			t.Errorf("DELETE: %q, want %q", got.Body, want)
		}
	}
	if got := n.sends("GET", "reports", "/q3", ""); got.Body == first.Body {
		t.Errorf("after DELETE: %q", got.Body)
	}
}
