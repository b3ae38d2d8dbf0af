package clients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every wrangler kv command against the API: namespaces, keys with slashes and spaces, metadata, files, and bulk.
func TestWranglerKV(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	w.ok("kv", "namespace", "create", "customer-kv")
	var list []struct{ ID, Title string }
	if err := json.Unmarshal([]byte(jsonIn(w.ok("kv", "namespace", "list"))), &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || list[0].Title != "customer-kv" || len(list[0].ID) != 32 {
		t.Fatalf("namespaces: %+v", list)
	}
	w.fails("kv", "namespace", "create", "customer-kv")
	id := list[0].ID
	kv := func(args ...string) string {
		t.Helper()
		return w.ok(append(args, "--remote", "--namespace-id", id)...)
	}

	kv("kv", "key", "put", "greeting", "hello world")
	if got := kv("kv", "key", "get", "greeting"); got != "hello world" {
		t.Errorf("greeting: %q", got)
	}
	kv("kv", "key", "put", "dir/key with space", "v2", "--metadata", `{"who":"me"}`, "--ttl", "3600")
	if got := kv("kv", "key", "get", "dir/key with space"); got != "v2" {
		t.Errorf("a key with a slash: %q", got)
	}
	w.write("hello.bin", "\x00\xff\r\n")
	kv("kv", "key", "put", "file", "--path", "hello.bin")
	if got := n.call("GET", n.acct()+"/storage/kv/namespaces/"+id+"/values/file", "", ""); got.Body != "\x00\xff\r\n" {
		t.Errorf("a file's bytes: %q", got.Body)
	}
	matches(t, w.fails("kv", "key", "get", "nope", "--remote", "--namespace-id", id), `404|not found`)

	keys := kv("kv", "key", "list", "--prefix", "dir/")
	matches(t, keys, `"name": "dir/key with space"`)
	matches(t, keys, `"who": "me"`)
	matches(t, keys, `"expiration": \d+`)
	if strings.Contains(keys, "greeting") {
		t.Errorf("the prefix does not filter:\n%s", keys)
	}

	w.write("bulk.json", `[{"key":"a","value":"1"},{"key":"b","value":"Mg==","base64":true,"metadata":{"n":2}}]`)
	kv("kv", "bulk", "put", "bulk.json")
	w.write("keys.json", `["a","b","missing"]`)
	got := kv("kv", "bulk", "get", "keys.json")
	matches(t, got, `"a"`)
	matches(t, got, `"2"`)
	kv("kv", "bulk", "delete", "keys.json", "--force")
	kv("kv", "key", "delete", "greeting")
	var left []struct{ Name string }
	if err := json.Unmarshal([]byte(jsonIn(kv("kv", "key", "list"))), &left); err != nil || len(left) != 2 {
		t.Errorf("keys left: %v %v", left, err)
	}

	w.ok("kv", "namespace", "rename", "customer-kv", "--new-name", "renamed")
	matches(t, w.ok("kv", "namespace", "list"), `renamed`)
	w.ok("kv", "namespace", "delete", "--namespace-id", id, "--skip-confirmation")
	if got := w.ok("kv", "namespace", "list"); strings.Contains(got, id) {
		t.Errorf("the deleted namespace is listed:\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(w.dir, ".wrangler/state")); err == nil {
		t.Error("wrangler used a local KV, not the node's")
	}
}
