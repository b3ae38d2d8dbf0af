package clients_test

import (
	"encoding/json"
	"testing"
)

// env decodes what the Worker of testdata/customer-b says is in its env.
func (n *node) env(script string) map[string]any {
	n.t.Helper()
	got := n.get(script+"."+zone, "/")
	var env map[string]any
	if err := json.Unmarshal([]byte(got.Body), &env); err != nil {
		n.t.Fatalf("%s answers %d %q", script, got.Status, got.Body)
	}
	return env
}

// want checks one name of an env; want nil means that it must be missing.
func want(t *testing.T, env map[string]any, name string, value any) {
	t.Helper()
	got, err := json.Marshal(env[name])
	if err != nil {
		t.Fatal(err)
	}
	expected, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(expected) {
		t.Errorf("env.%s is %s, want %s", name, got, expected)
	}
}

// customerB is the project customer-b, bound to a new KV namespace that holds a greeting.
func (n *node) customerB() *wrangler {
	n.t.Helper()
	var ns struct{ ID string }
	n.result("POST", n.acct()+"/storage/kv/namespaces", "application/json", `{"title":"store"}`, &ns)
	w := n.wrangler("customer-b")
	w.edit("wrangler.jsonc", "KV_NAMESPACE_ID", ns.ID)
	w.ok("kv", "key", "put", "--remote", "--namespace-id", ns.ID, "greeting", "from the store")
	return w
}

// wrangler deploy --dispatch-namespace with vars, KV, --secrets-file, --keep-vars, --tag and --message: what each leaves in
// the Worker's env and in the record of its versions.
func TestWranglerDeployBindings(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	w := n.customerB()

	w.ok("deploy", "--dispatch-namespace", "production")
	env := n.env("customer-b")
	want(t, env, "GREETING", "hello")
	want(t, env, "CONFIG", map[string]any{"colour": "blue", "sizes": []int{1, 2}})
	want(t, env, "STORE", "from the store")

	w.write("secrets.json", `{"API_KEY":"k1","OTHER":"o1"}`)
	w.ok("deploy", "--dispatch-namespace", "production", "--secrets-file", "secrets.json", "--tag", "v2", "--message", "second")
	env = n.env("customer-b")
	want(t, env, "API_KEY", "k1")
	want(t, env, "OTHER", "o1")
	var versions struct {
		Items []struct{ Annotations map[string]string }
	}
	n.result("GET", n.script("customer-b")+"/versions", "", "", &versions)
	if len(versions.Items) != 2 || versions.Items[0].Annotations["workers/tag"] != "v2" ||
		versions.Items[0].Annotations["workers/message"] != "second" {
		t.Errorf("versions: %+v", versions)
	}

	// Secrets survive a deploy that does not name them; variables that the configuration dropped do not ...
	w.edit("wrangler.jsonc", `"GREETING": "hello", `, ``)
	w.ok("deploy", "--dispatch-namespace", "production")
	env = n.env("customer-b")
	want(t, env, "API_KEY", "k1")
	want(t, env, "GREETING", nil)

	// ... except with --keep-vars.
	w.edit("wrangler.jsonc", `"CONFIG": { "colour": "blue", "sizes": [1, 2] }`, `"EXTRA": "new"`)
	w.ok("deploy", "--dispatch-namespace", "production", "--keep-vars")
	env = n.env("customer-b")
	want(t, env, "CONFIG", map[string]any{"colour": "blue", "sizes": []int{1, 2}})
	want(t, env, "EXTRA", "new")
	want(t, env, "API_KEY", "k1")
	want(t, env, "STORE", "from the store")
}

// A Worker of several modules (text, data, WebAssembly), bundled by wrangler and uploaded as it does.
func TestWranglerDeployModules(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.wrangler("modules").ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-modules", `{"note":"a text module","bytes":3,"sum":42}`)
}

// --no-bundle sends the file as it is, without a source map.
func TestWranglerDeployNoBundle(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	a := n.wrangler("customer-a")
	a.ok("deploy", "--dispatch-namespace", "production", "--no-bundle", "--name", "customer-nb")
	n.serves("customer-nb", "hello from a")
}

// A Worker written with Hono in TypeScript, with nodejs_compat: routes, parameters, bodies, and an exception that the
// dispatch Worker catches with its name and message.
func TestWranglerDeployHono(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.wrangler("customer-hono").ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-hono", "hi from hono")
	host := "customer-hono." + zone
	if got := n.get(host, "/users/42?x=1"); got.Body != `{"id":"42","agent":null}` {
		t.Errorf("a parameter: %d %q", got.Status, got.Body)
	}
	if got := n.get(host, "/nowhere"); got.Status != 404 {
		t.Errorf("an unknown path: %d %q", got.Status, got.Body)
	}
	if got := n.get(host, "/throws"); got.Status != 500 || got.Body != "Error: a customer's mistake" {
		t.Errorf("an exception: %d %q", got.Status, got.Body)
	}
}

// A Worker written with itty-router.
func TestWranglerDeployItty(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.wrangler("customer-itty").ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-itty", `"hello from itty"`)
	if got := n.get("customer-itty."+zone, "/sum/40/2"); got.Body != `{"sum":42}` {
		t.Errorf("parameters: %d %q", got.Status, got.Body)
	}
}
