package clients_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A wrangler is a project folder and the real wrangler, pointed at a node.
type wrangler struct {
	t    *testing.T
	dir  string
	env  []string
	node string
	cli  string
}

// wrangler copies a project of testdata to where wrangler may write, "" for an empty folder.
func (n *node) wrangler(project string) *wrangler {
	n.t.Helper()
	home := n.t.TempDir()
	dir := filepath.Join(home, "project")
	if project == "" {
		if err := os.Mkdir(dir, 0o777); err != nil {
			n.t.Fatal(err)
		}
	} else if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", project))); err != nil {
		n.t.Fatal(err)
	}
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		n.t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		n.t.Fatal(err)
	}
	return &wrangler{
		t: n.t, dir: dir,
		node: filepath.Join(modules, ".bin/node"),
		cli:  filepath.Join(modules, "wrangler/bin/wrangler.js"),
		env: append(cleanEnv(),
			"HOME="+home, "XDG_CONFIG_HOME="+home, "WRANGLER_LOG_PATH="+filepath.Join(home, "logs"),
			"CLOUDFLARE_API_BASE_URL="+n.base(),
			"CLOUDFLARE_API_TOKEN="+n.token,
			"CLOUDFLARE_ACCOUNT_ID="+n.account,
			"WRANGLER_SEND_METRICS=false", "WRANGLER_SEND_ERROR_REPORTS=false", "WRANGLER_HIDE_BANNER=true",
			"NO_COLOR=1", "FORCE_COLOR=0"),
	}
}

// cleanEnv is this process's environment without what would lead a client elsewhere.
func cleanEnv() []string {
	var out []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "CLOUDFLARE_") && !strings.HasPrefix(kv, "CF_") && !strings.HasPrefix(kv, "WRANGLER_") &&
			!strings.HasPrefix(kv, "ATOLL_") && !strings.HasPrefix(kv, "NODE_") {
			out = append(out, kv)
		}
	}
	return out
}

// run runs one command and returns what it printed, stdout and stderr together, and its exit code.
func (w *wrangler) run(stdin string, args ...string) (out string, code int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.node, append([]string{w.cli}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = w.dir, w.env, strings.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		w.t.Fatalf("wrangler %s: %v", strings.Join(args, " "), err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// ok runs a command that must succeed and returns what it printed.
func (w *wrangler) ok(args ...string) string {
	w.t.Helper()
	return w.okInput("", args...)
}

// okInput is ok with something to read on standard input.
func (w *wrangler) okInput(stdin string, args ...string) string {
	w.t.Helper()
	out, code := w.run(stdin, args...)
	if code != 0 {
		w.t.Fatalf("wrangler %s: exit %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// fails runs a command that must exit 1 and returns what it printed.
func (w *wrangler) fails(args ...string) string {
	w.t.Helper()
	out, code := w.run("", args...)
	if code != 1 {
		w.t.Fatalf("wrangler %s: exit %d, want 1\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// write puts a file into the project.
func (w *wrangler) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o666); err != nil {
		w.t.Fatal(err)
	}
}

// edit replaces a text that a file of the project holds.
func (w *wrangler) edit(name, from, to string) {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		w.t.Fatalf("%s does not hold %q", name, from)
	}
	w.write(name, strings.ReplaceAll(string(text), from, to))
}

const uuidPattern = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`

// wrangler whoami: the token is accepted and the account is named.
func TestWranglerWhoami(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	out := n.wrangler("").ok("whoami")
	matches(t, out, `You are logged in with an (API|User API|Account API) Token`)
	matches(t, out, n.account)
}

// wrangler whoami with a wrong token says so instead of naming an account.
func TestWranglerWrongToken(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	w.env = append(w.env, "CLOUDFLARE_API_TOKEN=wrong")
	matches(t, w.fails("dispatch-namespace", "list"), `Authentication error|Invalid API Token`)
}

// The five dispatch-namespace commands, and what they say of a name that is taken or missing.
func TestWranglerDispatchNamespace(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	w := n.wrangler("")
	matches(t, w.ok("dispatch-namespace", "create", "production"),
		`Created dispatch namespace "production" with ID "`+uuidPattern+`"`)
	matches(t, w.fails("dispatch-namespace", "create", "production"), `already exists`)
	w.ok("dispatch-namespace", "create", "old-name")
	list := w.ok("dispatch-namespace", "list")
	matches(t, list, `namespace_name: 'production'`)
	matches(t, list, `namespace_name: 'old-name'`)
	got := w.ok("dispatch-namespace", "get", "production")
	for _, field := range []string{`namespace_id: '` + uuidPattern + `'`, `namespace_name: 'production'`,
		`created_on: '2`, `modified_on: '2`, `script_count: 0`} {
		matches(t, got, field)
	}
	matches(t, w.fails("dispatch-namespace", "get", "nope"), `100119`)
	matches(t, w.ok("dispatch-namespace", "rename", "old-name", "new-name"), `Renamed dispatch namespace "old-name" to "new-name"`)
	w.fails("dispatch-namespace", "get", "old-name")
	matches(t, w.ok("dispatch-namespace", "delete", "new-name"), `Deleted dispatch namespace "new-name"`)
	if list := w.ok("dispatch-namespace", "list"); strings.Contains(list, "new-name") {
		t.Errorf("new-name is still listed:\n%s", list)
	}
}

// A platform made by wrangler alone: namespace, dispatch Worker with its route, a customer's Worker, again, and again
// into a namespace that does not exist.
func TestWranglerPlatform(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	dispatcher := n.wrangler("dispatcher")
	dispatcher.ok("dispatch-namespace", "create", "production")
	out := dispatcher.ok("deploy")
	matches(t, out, `Uploaded dispatcher`)
	matches(t, out, `\*/\* \(zone name: atoll\.localhost\)`)
	n.gone("customer-a")

	a := n.wrangler("customer-a")
	out = a.ok("deploy", "--dispatch-namespace", "production")
	matches(t, out, `Uploaded customer-a`)
	matches(t, out, `Dispatch Namespace: production`)
	matches(t, out, `Current Version ID: `+uuidPattern)
	n.serves("customer-a", "hello from a")

	a.edit("src/index.js", "hello from a", "hello again")
	a.ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-a", "hello again")

	matches(t, a.fails("deploy", "--dispatch-namespace", "nope"), `100119`)
	n.serves("customer-a", "hello again")

	// The dispatch Worker's second deploy is another protocol: a version, a deployment, and the script's settings.
	dispatcher.edit("src/index.js", "customer ${customer} not found", "no ${customer}: not found")
	matches(t, dispatcher.ok("deploy"), `Current Version ID: `+uuidPattern)
	if got := n.get("nobody."+zone, "/"); got.Status != 404 || got.Body != "no nobody: not found" {
		t.Errorf("after the dispatch Worker's second deploy: %d %q", got.Status, got.Body)
	}
}

// A dispatch Worker that binds a namespace which does not exist: wrangler creates the namespace before it uploads.
func TestWranglerCreatesMissingNamespace(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.wrangler("dispatcher").ok("deploy")
	n.wrangler("customer-a").ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-a", "hello from a")
}

// A script whose top level throws is refused with JavaScript's own message, and the one before it goes on.
func TestWranglerStartupException(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	a := n.wrangler("customer-a")
	a.ok("deploy", "--dispatch-namespace", "production")
	a.write("src/index.js", "throw new TypeError('no luck today');\nexport default { fetch() {} }\n")
	out := a.fails("deploy", "--dispatch-namespace", "production")
	matches(t, out, `Uncaught TypeError: no luck today`)
	matches(t, out, `10021`)
	n.serves("customer-a", "hello from a")
}

// Names in a namespace and names in the account are apart: a namesake's secrets and bindings reach no customer, and
// deleting one leaves the other.
func TestWranglerNamesakes(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	ordinary := n.wrangler("greeter")
	ordinary.edit("wrangler.jsonc", `"name": "greeter"`, `"name": "customer-a"`)
	ordinary.ok("deploy")
	ordinary.okInput("s3cret", "secret", "put", "API_KEY")
	a := n.wrangler("customer-a")
	a.write("src/index.js", "export default { fetch(r, env) { return Response.json(Object.keys(env)) } }")
	a.ok("deploy", "--dispatch-namespace", "production")
	n.serves("customer-a", "[]")
	if got := n.get("greeter."+zone, "/"); got.Body != "greeter: s3cret" {
		t.Errorf("the ordinary namesake answers %q", got.Body)
	}
	ordinary.ok("delete", "--force")
	n.serves("customer-a", "[]")
}

// What wrangler itself refuses for user Workers, it goes on refusing locally: the API is not asked.
func TestWranglerHasNoDispatchSecrets(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	a := n.wrangler("customer-a")
	matches(t, a.fails("secret", "put", "API_KEY", "--dispatch-namespace", "production"), `Unknown argument`)
	matches(t, a.fails("delete", "--dispatch-namespace", "production", "--force"), `Unknown argument`)
}
