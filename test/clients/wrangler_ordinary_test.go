package clients_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// greeterSays asks the ordinary Worker of testdata/greeter.
func (n *node) greeterSays(want string) {
	n.t.Helper()
	if got := n.get("greeter."+zone, "/"); got.Status != 200 || got.Body != want {
		n.t.Fatalf("the greeter answers %d %q, want %q", got.Status, got.Body, want)
	}
}

// The life of an ordinary Worker: first deploy, second deploy (another protocol), what is recorded of both, deletion.
func TestWranglerOrdinaryDeploy(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("greeter")
	out := w.ok("deploy", "--message", "the first")
	matches(t, out, `https://greeter\.[a-z0-9-]+\.workers\.dev`)
	first := version(t, out)
	n.greeterSays("greeter: no key")

	w.edit("src/index.js", "greeter:", "welcome:")
	second := version(t, w.ok("deploy"))
	n.greeterSays("welcome: no key")

	for _, id := range []string{first, second} {
		matches(t, w.ok("deployments", "list"), id)
		matches(t, w.ok("versions", "list"), id)
		matches(t, w.ok("versions", "view", id), id)
	}
	matches(t, w.ok("deployments", "status"), second)

	matches(t, w.ok("delete", "--force"), `Successfully deleted greeter`)
	if got := n.get("greeter."+zone, "/"); got.Status != 404 && got.Status < 500 {
		t.Errorf("the deleted Worker answers %d %q", got.Status, got.Body)
	}
	w.fails("deployments", "list")
}

// version finds the version id that a deploy printed.
func version(t *testing.T, out string) string {
	t.Helper()
	m := regexp.MustCompile(`Current Version ID: (` + uuidPattern + `)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no version id in:\n%s", out)
	}
	return m[1]
}

// wrangler versions upload makes a version that does not run until it is deployed; rollback brings an old one back.
func TestWranglerVersions(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("greeter")
	first := version(t, w.ok("deploy"))
	w.edit("src/index.js", "greeter:", "preview:")
	out := w.ok("versions", "upload", "--tag", "next")
	m := regexp.MustCompile(`Worker Version ID: (` + uuidPattern + `)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no version id in:\n%s", out)
	}
	n.greeterSays("greeter: no key")
	matches(t, w.ok("versions", "list"), m[1])
	w.ok("versions", "deploy", m[1]+"@100%", "--yes")
	n.greeterSays("preview: no key")
	w.ok("rollback", first, "--yes", "--message", "back")
	n.greeterSays("greeter: no key")
	// A split between two versions is refused by name until it can be done.
	out = w.fails("versions", "deploy", first+"@50%", m[1]+"@50%", "--yes")
	matches(t, out, `(?i)split|percent`)
	n.greeterSays("greeter: no key")
}

// wrangler secret put, list, bulk and delete, and their effect on the running Worker. Values are never shown.
func TestWranglerSecrets(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("greeter")
	w.ok("deploy")
	matches(t, w.okInput("k1", "secret", "put", "API_KEY"), `Success! Uploaded secret API_KEY`)
	n.greeterSays("greeter: k1")
	list := w.ok("secret", "list")
	matches(t, list, `"name": "API_KEY"`)
	if strings.Contains(list, "k1") {
		t.Errorf("the list shows a value:\n%s", list)
	}
	w.write("secrets.json", `{"API_KEY":"k2","OTHER":"x"}`)
	w.ok("secret", "bulk", "secrets.json")
	n.greeterSays("greeter: k2")
	w.ok("deploy") // keeps secrets
	n.greeterSays("greeter: k2")
	matches(t, w.ok("secret", "delete", "API_KEY"), `Success! Deleted secret API_KEY`)
	n.greeterSays("greeter: no key")
	var left []struct{ Name, Type string }
	if err := json.Unmarshal([]byte(jsonIn(w.ok("secret", "list"))), &left); err != nil || len(left) != 1 || left[0].Name != "OTHER" {
		t.Errorf("secrets left: %v %v", left, err)
	}
	matches(t, w.fails("secret", "delete", "API_KEY"), `10056`)
}

// wrangler versions secret put, bulk, delete: each makes a version, on top of the newest, that serves nobody until it is deployed.
func TestWranglerVersionsSecret(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("greeter")
	w.ok("deploy")
	made := func(out string) string {
		t.Helper()
		m := regexp.MustCompile(`Created version (` + uuidPattern + `)`).FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no version in:\n%s", out)
		}
		return m[1]
	}
	first := made(w.okInput("k1", "versions", "secret", "put", "API_KEY", "--message", "the first key", "--tag", "v1"))
	w.write("secrets.json", `{"OTHER":"x"}`)
	made(w.ok("versions", "secret", "bulk", "secrets.json"))
	last := made(w.ok("versions", "secret", "delete", "API_KEY"))
	n.greeterSays("greeter: no key")
	matches(t, w.ok("versions", "view", first), `the first key`)
	matches(t, w.ok("versions", "list"), `Tag: +v1`)
	w.ok("versions", "deploy", first+"@100%", "--yes")
	n.greeterSays("greeter: k1")
	w.ok("versions", "deploy", last+"@100%", "--yes")
	n.greeterSays("greeter: no key")
	list := w.ok("versions", "secret", "list")
	matches(t, list, `Secret Name: OTHER`)
	if strings.Contains(list, "API_KEY") {
		t.Errorf("the deleted secret is listed:\n%s", list)
	}
	matches(t, w.fails("versions", "secret", "delete", "API_KEY", "--name", "nobody"), `10007`)
}

// What wrangler has commands for and a node has not is refused by name.
func TestWranglerUnserved(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	w.ok("r2", "bucket", "create", "gallery")
	for _, c := range []struct{ what, command string }{
		{"locks of buckets", "r2 bucket lock list gallery"},
		{"CORS rules of buckets", "r2 bucket cors list gallery"},
		{"Sippy", "r2 bucket sippy get gallery"},
		{"public addresses of buckets", "r2 bucket domain list gallery"},
		{"public addresses of buckets", "r2 bucket dev-url get gallery"},
		{"notifications of buckets", "r2 bucket notification list gallery"},
		{"catalogs of buckets", "r2 bucket catalog get gallery"},
		{"Workflows", "workflows list"},
		{"Hyperdrive", "hyperdrive list"},
		{"Vectorize", "vectorize list"},
		{"AI", "ai models"},
		{"containers", "containers list"},
		{"Pipelines", "pipelines list"},
		{"Pages", "pages project list"},
		{"client certificates", "mtls-certificate list"},
		{"VPC services", "vpc service list"},
		{"live tails", "tail worker"},
		{"event subscriptions", "queues subscription get q --id 0123456789abcdef0123456789abcdef"},
	} {
		matches(t, w.fails(strings.Fields(c.command)...), "this node does not serve "+c.what+" yet")
	}
}

// jsonIn cuts the JSON array out of what wrangler printed with it.
func jsonIn(out string) string {
	i, j := strings.Index(out, "["), strings.LastIndex(out, "]")
	if i < 0 || j < i {
		return out
	}
	return out[i : j+1]
}

// wrangler secret put to a Worker that does not exist yet: wrangler makes a draft Worker and puts the secret there.
func TestWranglerSecretOfNewWorker(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("greeter")
	matches(t, w.okInput("early", "secret", "put", "API_KEY"), `Success! Uploaded secret API_KEY`)
	w.ok("deploy")
	n.greeterSays("greeter: early")
}

// wrangler delete without --force asks first who else uses the Worker.
func TestWranglerDelete(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	dispatcher := n.wrangler("dispatcher")
	dispatcher.ok("deploy")
	n.gone("nobody")
	dispatcher.ok("delete")
	if got := n.get("nobody."+zone, "/"); got.Status == 404 && strings.Contains(got.Body, "customer nobody") {
		t.Errorf("the deleted dispatch Worker answers %d %q", got.Status, got.Body)
	}
}

// The most specific route wins: the dispatch Worker has everything, the greeter its own host.
func TestWranglerRoutes(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.wrangler("dispatcher").ok("deploy")
	n.wrangler("greeter").ok("deploy")
	n.wrangler("customer-a").ok("deploy", "--dispatch-namespace", "production")
	n.greeterSays("greeter: no key")
	n.serves("customer-a", "hello from a")
	if got := n.get("vanity.example", "/"); got.Body != "customer vanity not found" {
		t.Errorf("*/* did not match another host: %d %q", got.Status, got.Body)
	}
}
