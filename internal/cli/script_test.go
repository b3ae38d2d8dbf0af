package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	nsScripts = namespaces + "/production/scripts"
	v1        = "11111111-1111-4111-8111-111111111111"
	v2        = "22222222-2222-4222-8222-222222222222"
)

func deployments(ids ...string) string {
	var list []string
	for _, id := range ids {
		list = append(list, `{"created_on":"2026-01-02T03:04:05Z","versions":[{"version_id":"`+id+`","percentage":100}]}`)
	}
	return `{"deployments":[` + strings.Join(list, ",") + `]}`
}

func TestScripts(t *testing.T) {
	n := newNode(t, map[string]string{
		"GET /workers/scripts":        `[{"id":"dispatcher","handlers":["fetch"],"last_deployed_from":"wrangler","modified_on":"2026-01-02T03:04:05Z"}]`,
		"GET " + nsScripts:            `[{"id":"alice","handlers":["fetch","scheduled"],"tags":["a","b"],"last_deployed_from":"api","modified_on":"2026-01-02T03:04:05Z"}]`,
		"GET " + nsScripts + "/alice": `{"script":{"id":"alice","handlers":["fetch"],"last_deployed_from":"api","created_on":"2026-01-02T03:04:05Z"}}`,
		"GET " + nsScripts + "/alice/settings": `{"tags":["a"],"compatibility_date":"2026-01-01","compatibility_flags":["nodejs_compat"],
			"bindings":[{"type":"json","name":"CONFIG","json":{"a": [1, 2]}},{"type":"secret_text","name":"KEY"}]}`,
		"GET " + nsScripts + "/alice/deployments": deployments(v2, v1),
		"DELETE " + nsScripts + "/alice":          "null",
		"DELETE " + nsScripts:                     `{"deleted":[{"id":"alice"}],"deleted_count":1}`,
		"DELETE /workers/scripts/dispatcher":      "!400 10064 in use",
	})
	day := local(t, "2026-01-02T03:04:05Z")
	n.run("script", "list").prints(t, "NAME        MODIFIED             FROM      HANDLERS  TAGS\ndispatcher  "+day+"  wrangler  fetch\n")
	n.run("script", "list", "--namespace", "production").prints(t, "NAME   MODIFIED             FROM  HANDLERS         TAGS\nalice  "+day+"  api   fetch scheduled  a, b\n")
	n.run("script", "show", "--namespace", "production", "alice").prints(t, `Name:           alice
Namespace:      production
Version:        `+v2+`
Deployed:       `+day+`
From:           api
Created:        `+day+`
Handlers:       fetch
Tags:           a
Compatibility:  2026-01-01 nodejs_compat

BINDING  TYPE         SETTINGS
CONFIG   json         json={"a":[1,2]}
KEY      secret_text
`)
	n.run("script", "delete", "--namespace", "production", "alice").prints(t, "Deleted production/alice\n")
	n.run("script", "delete", "--namespace", "production", "--tags", "a:yes").prints(t, "Deleted 1 scripts of production\n")
	n.run("script", "delete", "dispatcher").fails(t, exitFailed, "atoll: error: delete dispatcher: in use [code: 10064]\n")
	n.run("script", "show", "a/b").fails(t, exitFailed, "atoll: error: Worker names are 1 to 255 characters of letters, digits, '-' and '_'\n")
}

func TestVersions(t *testing.T) {
	list := `{"items":[{"id":"` + v2 + `","number":2,"metadata":{"created_on":"2026-01-02T03:04:05Z","source":"api"},"annotations":{"workers/message":"try"}},
		{"id":"` + v1 + `","number":1,"metadata":{"created_on":"2026-01-02T03:04:05Z","source":"wrangler"}}]}`
	n := newNode(t, map[string]string{
		"GET /workers/scripts/d/versions":     list,
		"GET /workers/scripts/d/deployments":  deployments(v2, v2, v1),
		"POST /workers/scripts/d/deployments": `{"id":"d3"}`,
		"GET /workers/scripts/e/deployments":  deployments(v2, v2),
	})
	day := local(t, "2026-01-02T03:04:05Z")
	n.run("script", "versions", "d").prints(t, "   NUMBER  ID                                    CREATED              FROM      MESSAGE\n"+
		"*  2       "+v2+"  "+day+"  api       try\n   1       "+v1+"  "+day+"  wrangler\n")
	n.run("script", "rollback", "d").prints(t, "d serves version "+v1+" again\n")
	n.did(`POST /workers/scripts/d/deployments {"strategy":"percentage","versions":[{"percentage":100,"version_id":"` + v1 + `"}]}`)
	n.run("script", "rollback", "e").fails(t, exitFailed, "atoll: error: no other version has served before\n"+
		"atoll: hint: 'atoll script versions' lists the versions, name one\n")
}

func TestTags(t *testing.T) {
	base := nsScripts + "/alice/tags"
	n := newNode(t, map[string]string{"GET " + base: `["a","b"]`, "PUT " + base: `["c"]`, "PUT " + base + "/d": "null", "DELETE " + base + "/a": "null"})
	n.run("script", "tags", "--namespace", "production", "alice").prints(t, "a, b\n")
	n.did()
	n.run("script", "tags", "--namespace", "production", "alice", "--set", "c", "--add", "d", "--remove", "a").prints(t, "a, b\n")
	n.did("PUT "+base+` ["c"]`, "PUT "+base+"/d", "DELETE "+base+"/a")
	n.run("script", "tags", "--namespace", "production", "alice", "--clear", "--json").prints(t, "[\n  \"a\",\n  \"b\"\n]\n")
	n.did("PUT " + base + " []")
}

func TestSecrets(t *testing.T) {
	base := nsScripts + "/bob/secrets"
	n := newNode(t, map[string]string{"GET " + base: `[{"name":"KEY","type":"secret_text"}]`, "PUT " + base: `{"name":"KEY","type":"secret_text"}`, "DELETE " + base + "/KEY": "null"})
	n.run("script", "secret", "list", "--namespace", "production", "bob").prints(t, "NAME  TYPE\nKEY   secret_text\n")
	n.runIn("two\nlines\n", "script", "secret", "put", "--namespace", "production", "bob", "KEY").prints(t, "production/bob has secret KEY\n")
	n.did("PUT " + base + ` {"name":"KEY","type":"secret_text","text":"two\nlines"}`)
	n.run("script", "secret", "delete", "--namespace", "production", "bob", "KEY").prints(t, "Deleted secret KEY of production/bob\n")
	n.runIn("\n", "script", "secret", "put", "--namespace", "production", "bob", "KEY").fails(t, exitFailed, "atoll: error: the secret is empty\n"+
		"atoll: hint: its value is read from standard input: printf %s VALUE | atoll script secret put NAME SECRET\n")
}

func TestDeploy(t *testing.T) {
	dir := t.TempDir()
	main := filepath.Join(dir, "shop", "src", "index.js")
	write(t, main, "main")
	write(t, filepath.Join(dir, "shop", "src", "page.html"), "page")
	write(t, filepath.Join(dir, "shop", "src", "lib", "add.wasm"), "\x00asm")
	write(t, filepath.Join(dir, "meta.json"), `{"limits":{"cpu_ms":50},"bindings":[{"type":"version_metadata","name":"V"}],"compatibility_date":"2025-01-01"}`)
	n := newNode(t, map[string]string{
		"PUT " + nsScripts + "/shop": `{"id":"shop","deployment_id":"` + v1 + `","startup_time_ms":9}`,
		"GET /storage/kv/namespaces": `[{"id":"` + kv1 + `","title":"carts"}]`,
	})
	n.run("script", "deploy", main, "--namespace", "production", "--module", filepath.Join(dir, "shop", "src"), "--tag", "a", "--tag", "b",
		"--var", "GREETING=hi=there", "--json-var", `LIST=[1]`, "--kv", "CARTS=carts", "--service", "S=other", "--dispatch", "D=staging",
		"--dispatch", "E=prod", "--outbound", "E=guard:customer,plan",
		"--compatibility-flag", "nodejs_compat", "--message", "first", "--metadata", filepath.Join(dir, "meta.json")).
		prints(t, "Deployed production/shop as version "+v1+" (started in 9 ms)\n")

	body := n.seen[len(n.seen)-1]
	var meta map[string]any
	text := body[strings.Index(body, "{"):]
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&meta); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"main_module": "index.js", "compatibility_date": "2025-01-01", "compatibility_flags": []any{"nodejs_compat"},
		"tags": []any{"a", "b"}, "limits": map[string]any{"cpu_ms": 50.0}, "annotations": map[string]any{"workers/message": "first"},
		"keep_bindings": []any{"secret_text", "secret_key"},
		"bindings": []any{
			map[string]any{"type": "version_metadata", "name": "V"},
			map[string]any{"type": "plain_text", "name": "GREETING", "text": "hi=there"},
			map[string]any{"type": "json", "name": "LIST", "json": []any{1.0}},
			map[string]any{"type": "kv_namespace", "name": "CARTS", "namespace_id": kv1},
			map[string]any{"type": "service", "name": "S", "service": "other"},
			map[string]any{"type": "dispatch_namespace", "name": "D", "namespace": "staging"},
			map[string]any{"type": "dispatch_namespace", "name": "E", "namespace": "prod", "outbound": map[string]any{
				"worker": map[string]any{"service": "guard"}, "params": []any{map[string]any{"name": "customer"}, map[string]any{"name": "plan"}}}},
		},
	}
	if diff := cmp.Diff(want, meta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	for _, part := range []string{`filename="index.js"`, `filename="page.html"`, `filename="lib/add.wasm"`, "Content-Type: application/wasm"} {
		if strings.Count(body, part) != 1 {
			t.Errorf("the upload has %s %d times", part, strings.Count(body, part))
		}
	}
}

func TestDeploySaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"w.js": "x", "w.ts": "x", "outside.txt": "x", "in/w.js": "x", "a b.js": "x"} {
		write(t, filepath.Join(dir, name), text)
	}
	t.Chdir(dir)
	n := newNode(t, map[string]string{
		"PUT /workers/scripts/w":     "!400 10021 Uncaught SyntaxError: Unexpected token\n  at w.js:1:4",
		"GET /storage/kv/namespaces": `[]`,
	})
	for line, want := range map[string]string{
		"w.js":                         "atoll: error: Uncaught SyntaxError: Unexpected token\n    at w.js:1:4 [code: 10021]\natoll: hint: nothing was deployed; the version before, if there is one, keeps serving\n",
		"w.ts":                         "atoll: error: w.ts is not a JavaScript file\natoll: hint: FILE is the main module, .js or .mjs; TypeScript is wrangler's: 'npx wrangler deploy'\n",
		"missing.js":                   "atoll: error: read module: open missing.js: no such file or directory\n",
		"in/w.js --module outside.txt": "atoll: error: read modules: module outside.txt is outside in\natoll: hint: a module's name is its path from the main module's folder: move it there\n",
		"w.js --kv CARTS=carts":        "atoll: error: --kv CARTS=carts: there is no KV namespace carts\natoll: hint: 'atoll kv namespace list' shows the KV namespaces, 'atoll kv namespace create' makes one\n",
		"w.js --json-var X={":          "atoll: error: --json-var X={: the value is not JSON\natoll: hint: a text in JSON has quotes: --json-var 'NAME=\"text\"'; for plain text use --var\n",
		"w.js --var GREETING":          "atoll: error: --var GREETING has no NAME=\natoll: hint: the Worker sees it as env.NAME: --var NAME=GREETING\n",
		"w.js --outbound D=guard":      "atoll: error: --outbound D=guard is for no --dispatch\natoll: hint: name the binding: --dispatch NAME=NAMESPACE --outbound NAME=SCRIPT\n",
		"w.js --name a.b":              "atoll: error: Worker names are 1 to 255 characters of letters, digits, '-' and '_'\natoll: hint: choose a name with --name\n",
	} {
		s := n.run(append([]string{"script", "deploy"}, strings.Fields(line)...)...)
		if diff := cmp.Diff(want, s.err); diff != "" || s.code == exitOK {
			t.Errorf("%s: code %d (-want +got):\n%s", line, s.code, diff)
		}
	}
}

func TestDefaultName(t *testing.T) {
	for file, want := range map[string]string{"/x/hello.js": "hello", "/x/shop/src/index.mjs": "shop", "/x/shop/worker.js": "shop", "/index.js": "index"} {
		if got := defaultName(file); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}
