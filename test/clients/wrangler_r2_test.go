package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every wrangler r2 command that a node serves: buckets, their figures, objects with slashes, spaces and headers, and a
// deploy that is bound to a bucket, which wrangler makes where it is missing.
func TestWranglerR2(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	w.ok("r2", "bucket", "create", "customer-bucket", "--location", "weur")
	matches(t, w.fails("r2", "bucket", "create", "customer-bucket"), `10073`)
	matches(t, w.fails("r2", "bucket", "create", "other", "-J", "eu"), `no jurisdictions`)
	matches(t, w.ok("r2", "bucket", "list"), `customer-bucket`)
	w.ok("r2", "bucket", "update", "storage-class", "customer-bucket", "--storage-class", "InfrequentAccess")

	w.write("hello.bin", "\x00\xff\r\n hello")
	w.ok("r2", "object", "put", "customer-bucket/dir/hello.txt", "--remote", "--file", "hello.bin", "--content-type", "text/plain", "--cache-control", "no-store")
	if got := w.ok("r2", "object", "get", "customer-bucket/dir/hello.txt", "--remote", "--pipe"); !strings.HasSuffix(got, "\x00\xff\r\n hello") {
		t.Errorf("piped: %q", got)
	}
	w.ok("r2", "object", "get", "customer-bucket/dir/hello.txt", "--remote", "--file", "out.bin")
	if got, err := os.ReadFile(filepath.Join(w.dir, "out.bin")); err != nil || string(got) != "\x00\xff\r\n hello" {
		t.Errorf("out.bin: %q %v", got, err)
	}
	if got := n.call("GET", n.acct()+"/r2/buckets/customer-bucket/objects/dir/hello.txt", "", ""); got.Header.Get("Content-Type") != "text/plain" || got.Header.Get("Cf-R2-Storage-Class") != "InfrequentAccess" {
		t.Errorf("headers: %v", got.Header)
	}
	big := strings.Repeat("0123456789abcdef", 1<<18)
	w.write("big.bin", big)
	w.ok("r2", "object", "put", "customer-bucket/big", "--remote", "--file", "big.bin")
	if got := n.call("GET", n.acct()+"/r2/buckets/customer-bucket/objects/big", "", ""); got.Body != big {
		t.Errorf("big: %d bytes", len(got.Body))
	}
	info := w.ok("r2", "bucket", "info", "customer-bucket")
	matches(t, info, `location:\s+WEUR`)
	matches(t, info, `default_storage_class:\s+InfrequentAccess`)
	matches(t, info, `object_count:\s+2`)
	matches(t, info, `bucket_size:\s+4\.19 MB`)

	w.okInput("piped", "r2", "object", "put", "customer-bucket/piped", "--remote", "--pipe", "--content-type", "text/x-piped")
	w.write("bulk.json", `[{"key":"many/hello","file":"hello.bin"},{"key":"many/big","file":"big.bin"}]`)
	matches(t, w.ok("r2", "bulk", "put", "customer-bucket", "--remote", "--filename", "bulk.json"), `2 out of 2`)
	for key, want := range map[string]string{"piped": "piped", "many/hello": "\x00\xff\r\n hello", "many/big": big} {
		got := n.call("GET", n.acct()+"/r2/buckets/customer-bucket/objects/"+key, "", "")
		if got.Body != want || (got.Header.Get("Content-Type") == "text/x-piped") != (key == "piped") {
			t.Errorf("%s: %d bytes %v", key, len(got.Body), got.Header)
		}
	}

	matches(t, w.fails("r2", "object", "get", "customer-bucket/nope", "--remote", "--pipe"), `(?i)does not exist`)
	matches(t, w.fails("r2", "bucket", "delete", "customer-bucket"), `10008`)
	w.ok("r2", "object", "delete", "customer-bucket/dir/hello.txt", "--remote")
	if got := n.call("DELETE", n.acct()+"/r2/buckets/customer-bucket/objects", "application/json", `["big","piped","many/hello","many/big"]`); got.Status != 200 {
		t.Errorf("deleting the rest: %d %s", got.Status, got.Body)
	}
	w.ok("r2", "bucket", "delete", "customer-bucket")
	matches(t, w.fails("r2", "bucket", "info", "customer-bucket"), `10006`)
	matches(t, w.fails("r2", "bucket", "lifecycle", "list", "customer-bucket"), `10015`)
}

// The example Worker, as its customer deploys it: wrangler finds or makes the bucket, and the Worker serves from it.
func TestWranglerR2Example(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	w := n.wrangler("")
	if err := os.CopyFS(w.dir, os.DirFS(filepath.Join(root, "examples/bindings/r2"))); err != nil {
		t.Fatal(err)
	}
	w.ok("r2", "bucket", "create", "gallery")
	w.ok("deploy", "--dispatch-namespace", "production")
	ask := func(method, path, body string, headers map[string]string) answer {
		t.Helper()
		req, err := newRequest(method, n.edge+path, body, headers)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "gallery." + zone
		return n.do(req)
	}
	if got := ask("GET", "/cat.txt", "", nil); got.Status != 404 {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	put := ask("PUT", "/cat.txt", "a cat", map[string]string{"Content-Type": "text/plain"})
	if put.Status != 201 {
		t.Fatalf("%d %q", put.Status, put.Body)
	}
	got := ask("GET", "/cat.txt", "", nil)
	if got.Status != 200 || got.Body != "a cat" || got.Header.Get("Content-Type") != "text/plain" || got.Header.Get("Etag") != put.Header.Get("Etag") {
		t.Errorf("%d %q %v", got.Status, got.Body, got.Header)
	}
	if got := ask("GET", "/cat.txt", "", map[string]string{"If-None-Match": put.Header.Get("Etag")}); got.Status != 304 || got.Body != "" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	if got := ask("GET", "/cat.txt", "", map[string]string{"Range": "bytes=2-4"}); got.Status != 206 || got.Body != "cat" || got.Header.Get("Content-Range") != "bytes 2-4/5" {
		t.Errorf("%d %q %v", got.Status, got.Body, got.Header)
	}
	if got := ask("GET", "/", "", nil); got.Status != 200 || !strings.Contains(got.Body, `"cat.txt"`) {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	if got := ask("DELETE", "/cat.txt", "", nil); got.Status != 204 {
		t.Errorf("%d %q", got.Status, got.Body)
	}
	if got := n.call("GET", n.acct()+"/r2/buckets/gallery/objects/cat.txt", "", ""); got.Status != 404 {
		t.Errorf("%d %q", got.Status, got.Body)
	}
}
