package clients_test

import (
	"fmt"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

const esm = "application/javascript+module"

// A dialect is one of the ways in which the world's clients send the same upload.
type dialect struct {
	name  string
	parts []part
	ctype string // instead of the form's own
	raw   string // instead of parts, under ctype
	want  string // what the Worker then answers
}

// dialects are the forms of contract 1.2 that the clients in this folder do not send themselves, or send only in part.
var dialects = []dialect{
	{name: "docs-curl", want: "curl", parts: []part{
		{field: "metadata", ctype: "application/json", body: `{"main_module":"worker.mjs"}`},
		{field: "worker.mjs", filename: "worker.mjs", ctype: esm, body: saying("curl")}}},
	{name: "docs-curl-untyped-metadata", want: "curl", parts: []part{
		{field: "metadata", body: `{"main_module":"worker.mjs"}`},
		{field: "worker.mjs", filename: "worker.mjs", ctype: esm, body: saying("curl")}}},
	{name: "form-data-strings", want: "strings", parts: []part{
		{field: "metadata", body: `{"main_module":"index.js"}`},
		{field: "index.js", body: saying("strings")}}},
	// The deploy template: the part's name is not the module's, and a second module comes along.
	{name: "template", want: "template and platform", parts: []part{
		{field: "metadata", filename: "metadata.json", ctype: "application/json", body: `{"main_module":"template.mjs"}`},
		{field: "script", filename: "template.mjs", ctype: esm,
			body: "import { suffix } from './platform_module.mjs'; export default { fetch: () => new Response('template' + suffix) }"},
		{field: "platform_module", filename: "platform_module.mjs", ctype: esm, body: "export const suffix = ' and platform'"}}},
	{name: "filename-without-type", want: "no type", parts: []part{
		{field: "metadata", body: `{"main_module":"index.js","exported_handlers":["fetch"]}`},
		{field: "index.js", filename: "index.js", body: saying("no type")}}},
	{name: "brackets-breadth-first", want: `{"A":"1","B":"2"}`, parts: []part{
		{field: "metadata[main_module]", body: "worker.mjs"},
		{field: "metadata[bindings][][type]", body: "plain_text"}, {field: "metadata[bindings][][type]", body: "plain_text"},
		{field: "metadata[bindings][][name]", body: "A"}, {field: "metadata[bindings][][name]", body: "B"},
		{field: "metadata[bindings][][text]", body: "1"}, {field: "metadata[bindings][][text]", body: "2"},
		{field: "files[]", filename: "worker.mjs", ctype: esm, body: showing}}},
	{name: "brackets-depth-first", want: `{"A":"1","B":"2"}`, parts: []part{
		{field: "metadata[main_module]", body: "worker.mjs"},
		{field: "metadata[bindings][][type]", body: "plain_text"}, {field: "metadata[bindings][][name]", body: "A"},
		{field: "metadata[bindings][][text]", body: "1"},
		{field: "metadata[bindings][][type]", body: "plain_text"}, {field: "metadata[bindings][][name]", body: "B"},
		{field: "metadata[bindings][][text]", body: "2"},
		{field: "files[]", filename: "worker.mjs", ctype: esm, body: showing}}},
	{name: "form-called-javascript", want: "sniffed", ctype: "application/javascript", parts: []part{
		{field: "metadata[main_module]", body: "worker.mjs"},
		{field: "files[]", filename: "worker.mjs", ctype: esm, body: saying("sniffed")}}},
	{name: "numbered-files", want: "zero", parts: []part{
		{field: "metadata", filename: "metadata", ctype: "application/json", body: `{"main_module":"worker.mjs"}`},
		{field: "0", filename: "worker.mjs", ctype: esm, body: saying("zero")}}},
	{name: "metadata-last", want: "last", parts: []part{
		{field: "files", filename: "worker.mjs", ctype: esm, body: saying("last")},
		{field: "metadata", ctype: "application/json", body: `{"main_module":"worker.mjs"}`}}},
	{name: "source-map-of-ten-megabytes", want: "mapped", parts: []part{
		{field: "metadata", body: `{"main_module":"index.js"}`},
		{field: "index.js", filename: "index.js", ctype: esm, body: saying("mapped") + "//# sourceMappingURL=index.js.map\n"},
		{field: "index.js.map", filename: "index.js.map", ctype: "application/source-map",
			body: `{"version":3,"sources":[],"mappings":"` + strings.Repeat(";", 10<<20) + `"}`}}},
	{name: "service-worker-raw", want: "raw", ctype: "application/javascript",
		raw: `addEventListener("fetch", (e) => e.respondWith(new Response("raw")))`},
	{name: "service-worker-text", want: "raw text", ctype: "text/javascript; charset=utf-8",
		raw: `addEventListener("fetch", (e) => e.respondWith(new Response("raw text")))`},
	{name: "service-worker-form", want: "plain words in a blob", parts: []part{
		{field: "metadata", body: `{"body_part":"script","bindings":[
			{"type":"plain_text","name":"TEXT","text":"plain"},{"type":"text_blob","name":"BLOB","part":"blob"}]}`},
		{field: "script", ctype: "application/javascript",
			body: `addEventListener("fetch", (e) => e.respondWith(new Response(TEXT + " " + BLOB)))`},
		{field: "blob", ctype: "text/plain", body: "words in a blob"}}},
	{name: "every-module-type", want: `["text","json",3,"common"]`, parts: []part{
		{field: "metadata", body: `{"main_module":"main.mjs","compatibility_date":"2026-01-01"}`},
		{field: "main.mjs", filename: "main.mjs", ctype: "text/javascript+module", body: `
			import text from "./a.txt"; import json from "./b.json"; import data from "./c.bin"; import common from "./d.cjs";
			export default { fetch: () => Response.json([text, json.is, data.byteLength, common.is]) }`},
		{field: "a.txt", filename: "a.txt", ctype: "text/plain", body: "text"},
		{field: "b.json", filename: "b.json", ctype: "application/json", body: `{"is":"json"}`},
		{field: "c.bin", filename: "c.bin", ctype: "application/octet-stream", body: "\x00\xff\x01"},
		{field: "d.cjs", filename: "d.cjs", ctype: "application/javascript", body: `module.exports = { is: "common" }`}}},
}

const showing = "export default { fetch: (request, env) => Response.json({ ...env }) }"

// send uploads in a dialect.
func (n *node) send(script string, d dialect) answer {
	n.t.Helper()
	if d.raw != "" {
		return n.call("PUT", n.script(script), d.ctype, d.raw)
	}
	body, ctype := form(n.t, d.parts)
	if d.ctype != "" {
		ctype = d.ctype
	}
	return n.call("PUT", n.script(script), ctype, body)
}

// The same upload in every form that clients send it: each is accepted, and the Worker answers.
func TestDialects(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	for _, d := range dialects {
		t.Run(d.name, func(t *testing.T) {
			n := n.as(t)
			n.send(d.name, d).result(t, nil)
			n.serves(d.name, d.want)
		})
	}
}

// Uploads that are wrong are refused with the status, the code and the words that clients know.
func TestDialectsRefused(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	module := part{field: "w.mjs", filename: "w.mjs", ctype: esm, body: saying("x")}
	with := func(metadata string) []part {
		return []part{{field: "metadata", body: metadata}, module}
	}
	for _, c := range []struct {
		dialect
		status, code int
		message      string
	}{
		{dialect{name: "not-a-script", ctype: "application/json", raw: `[]`}, 415, 10001,
			`Content-Type must be one of: application/javascript, text/javascript, multipart/form-data`},
		{dialect{name: "no-metadata", parts: []part{module}}, 400, 10021, `metadata`},
		{dialect{name: "metadata-is-not-json", parts: with(`{`)}, 400, 10021, `metadata`},
		{dialect{name: "main-module-is-missing", parts: with(`{"main_module":"other.mjs"}`)}, 400, 10021, `other\.mjs`},
		{dialect{name: "file-as-json", parts: []part{{field: "metadata", body: `{"main_module":"w.mjs"}`},
			{field: "files", ctype: "application/json", body: `{"w.mjs":{}}`}}}, 400, 10021, `application/json|w\.mjs`},
		{dialect{name: "python", parts: []part{{field: "metadata", body: `{"main_module":"w.py"}`},
			{field: "w.py", filename: "w.py", ctype: "text/x-python", body: "pass"}}}, 400, 10021, `(?i)python`},
		// The docs' snippet, as curl sends it: cut at the first semicolon.
		{dialect{name: "cut-by-curl", parts: []part{{field: "metadata", body: `{"main_module":"index.js"}`},
			{field: "index.js", body: `export default { async fetch(request, env) { return env.ASSETS.fetch(request)`}}}, 400, 10021, `SyntaxError`},
		{dialect{name: "throws-at-the-top", parts: []part{{field: "metadata", body: `{"main_module":"w.mjs"}`},
			{field: "w.mjs", filename: "w.mjs", ctype: esm, body: "throw new RangeError('no')"}}}, 400, 10021, `Uncaught RangeError: no`},
		{dialect{name: "imports-nothing", parts: []part{{field: "metadata", body: `{"main_module":"w.mjs"}`},
			{field: "w.mjs", filename: "w.mjs", ctype: esm, body: "import './nowhere.mjs'"}}}, 400, 10021, `No such module`},
		{dialect{name: "nine-tags", parts: with(`{"main_module":"w.mjs","tags":["1","2","3","4","5","6","7","8","9"]}`)}, 400, 10021, `tags`},
		{dialect{name: "tag-with-a-comma", parts: with(`{"main_module":"w.mjs","tags":["a,b"]}`)}, 400, 10021, `tag`},
		{dialect{name: "unknown-binding", parts: with(`{"main_module":"w.mjs","bindings":[{"type":"teleport","name":"T"}]}`)}, 400, 10021, `teleport`},
		{dialect{name: "binding-not-served-yet", parts: with(`{"main_module":"w.mjs","bindings":[{"type":"hyperdrive","name":"H","id":"x"}]}`)}, 400, 10021, `hyperdrive`},
		{dialect{name: "wrong-compatibility-date", parts: with(`{"main_module":"w.mjs","compatibility_date":"soon"}`)}, 400, 10021, `compatibility_date|compatibility date`},
		{dialect{name: "kv-namespace-is-missing", parts: with(`{"main_module":"w.mjs","bindings":[{"type":"kv_namespace","name":"K","namespace_id":"0123456789abcdef0123456789abcdef"}]}`)}, 400, 10041, `(?i)kv`},
		{dialect{name: "two-bindings-of-one-name", parts: with(`{"main_module":"w.mjs","bindings":[{"type":"plain_text","name":"A","text":"1"},{"type":"plain_text","name":"A","text":"2"}]}`)}, 400, 10053, `'A'`},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := n.as(t)
			matches(t, n.send(c.name, c.dialect).refused(t, c.status, c.code), c.message)
			n.call("GET", n.script(c.name), "", "").refused(t, 404, 10092)
		})
	}
}

// The codes that clients branch on where a thing does not exist.
func TestMissing(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	spaces := n.acct() + "/workers/dispatch/namespaces/"
	for _, c := range []struct {
		name, method, url string
		code              int
	}{
		{"namespace", "GET", spaces + "nope", 100119},
		{"namespace-of-script", "GET", spaces + "nope/scripts/x", 100119},
		{"script-in-namespace", "GET", n.script("nope"), 10092},
		{"settings-in-namespace", "GET", n.script("nope") + "/settings", 10092},
		{"settings", "GET", n.acct() + "/workers/scripts/nope/settings", 10007},
		{"secrets", "GET", n.acct() + "/workers/scripts/nope/secrets", 10007},
		{"script", "GET", n.acct() + "/workers/scripts/nope", 10007},
		{"service", "GET", n.acct() + "/workers/services/nope", 10090},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := n.as(t)
			n.call(c.method, c.url, "", "").refused(t, 404, c.code)
		})
	}
	t.Run("customer-is-no-ordinary-script", func(t *testing.T) {
		n := n.as(t)
		n.send("apart", dialects[0]).result(t, nil)
		n.call("GET", n.acct()+"/workers/scripts/apart/settings", "", "").refused(t, 404, 10007)
		n.call("GET", n.script("dispatcher"), "", "").refused(t, 404, 10092)
	})
}

// Unknown metadata is kept and shown, unknown settings are no error, and settings come back as they were sent.
func TestMetadataIsKept(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.upload(n.script("kept"), []part{
		{field: "metadata", body: `{"main_module":"w.mjs","compatibility_date":"2025-02-03","compatibility_flags":["nodejs_compat"],
			"logpush":true,"observability":{"enabled":true,"head_sampling_rate":0.5},"usage_model":"standard","placement":{"mode":"smart"},
			"limits":{"cpu_ms":50},"tail_consumers":[{"service":"watcher"}],"from_the_future":{"a":1},"tags":["x"]}`},
		{field: "w.mjs", filename: "w.mjs", ctype: esm, body: saying("kept")}}).result(t, nil)
	got := n.call("GET", n.script("kept")+"/settings", "", "")
	got.result(t, nil)
	for _, field := range []string{`"compatibility_date":\s*"2025-02-03"`, `"nodejs_compat"`, `"logpush":\s*true`, `"head_sampling_rate":\s*0\.5`,
		`"usage_model":\s*"standard"`, `"cpu_ms":\s*50`, `"service":\s*"watcher"`, `"tags":\s*\[\s*"x"`, `"from_the_future":\s*\{"a":\s*1\}`} {
		matches(t, got.Body, field)
	}
	n.serves("kept", "kept")
}

// PUT content takes the code alone, its main part named by a header, and GET content gives it back: as text where it is
// one module, as a form where there are more.
func TestContent(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	n.platform()
	n.upload(n.script("content"), []part{
		{field: "metadata", body: `{"main_module":"w.mjs","bindings":[{"type":"plain_text","name":"TEXT","text":"kept"}]}`},
		{field: "w.mjs", filename: "w.mjs", ctype: esm, body: saying("one")}}).result(t, nil)
	if got := n.call("GET", n.script("content")+"/content", "", ""); got.Status != 200 || got.Body != saying("one") {
		t.Errorf("content: %d %q", got.Status, got.Body)
	}
	body, ctype := form(t, []part{
		{field: "new.mjs", filename: "new.mjs", ctype: esm,
			body: "import { two } from './lib.mjs'; export default { fetch: (r, env) => new Response(two + ' ' + env.TEXT) }"},
		{field: "lib.mjs", filename: "lib.mjs", ctype: esm, body: "export const two = 'two'"}})
	req, err := newRequest("PUT", n.script("content")+"/content", body, map[string]string{
		"Authorization": "Bearer " + n.token, "Content-Type": ctype, "CF-WORKER-MAIN-MODULE-PART": "new.mjs"})
	if err != nil {
		t.Fatal(err)
	}
	n.do(req).result(t, nil)
	n.serves("content", "two kept")

	got := n.call("GET", n.script("content")+"/content", "", "")
	kind, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Fatalf("content of two modules: %s %v", kind, err)
	}
	f, err := multipart.NewReader(strings.NewReader(got.Body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if names := fmt.Sprint(len(f.File), len(f.File["new.mjs"]), len(f.File["lib.mjs"])); names != "2 1 1" {
		t.Errorf("parts: %v", f.File)
	}
}
