package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

const boundary = "Content-Type: multipart/form-data; boundary=xx"

// form is a multipart body with the metadata and modules given as "name", "text", ...
func form(metadata string, modules ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "--xx\r\nContent-Disposition: form-data; name=\"metadata\"\r\n\r\n%s\r\n", metadata)
	for i := 0; i < len(modules); i += 2 {
		fmt.Fprintf(&b, "--xx\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"%[1]s\"\r\nContent-Type: application/javascript+module\r\n\r\n%s\r\n", modules[i], modules[i+1])
	}
	return b.String() + "--xx--\r\n"
}

const simple = `{"main_module":"index.js","compatibility_date":"2026-01-01","tags":["a"],"exported_handlers":["fetch"],
	"bindings":[{"name":"GREETING","type":"plain_text","text":"hi"},{"name":"KEY","type":"secret_text","text":"hidden"}]}`

// eachPlace runs a test for the scripts of a namespace and for those of the account.
func eachPlace(t *testing.T, do func(t *testing.T, n *node, path string, missing int)) {
	for name, path := range map[string]string{"namespace": inProd, "account": inAcct} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.ok(nil, "POST", spaces, `{"name":"production"}`)
			do(t, n, path, map[string]int{"namespace": 10092, "account": 10007}[name])
		})
	}
}

func TestUpload(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		var up wire.Upload
		a := n.ok(&up, "PUT", path+"alice?excludeScript=true&bindings_inherit=strict", form(simple, "index.js", "export default {}"),
			boundary, "User-Agent: wrangler/4.164.0")
		if up.ID != "alice" || up.StartupTimeMs != 7 || up.Etag == "" || up.EntryPoint != "index.js" || !slices.Equal(up.Tags, []string{"a"}) ||
			!slices.Equal(up.Handlers, []string{"fetch"}) || len(up.NamedHandlers) != 1 || len(up.Bindings) != 2 || up.LastDeployedFrom != "wrangler" ||
			!up.HasModules || (up.DispatchNamespace == "production") != (path == inProd) {
			t.Errorf("upload = %s", a.Result)
		}
		if _, err := atoll.ParseVersionID(up.DeploymentID); err != nil {
			t.Errorf("deployment_id %q is no UUID", up.DeploymentID)
		}
		for _, field := range []string{"startup_time_ms", "deployment_id", "id", "etag", "tag", "created_on", "modified_on", "usage_model", "handlers"} {
			if !strings.Contains(string(a.Result), `"`+field+`":`) {
				t.Errorf("the answer lacks %s: %s", field, a.Result)
			}
		}
		if strings.Contains(a.body, "hidden") {
			t.Errorf("the secret is shown: %s", a.Result)
		}
		if len(n.run.published) == 0 {
			t.Error("the upload was not published")
		}
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "export default {}" {
			t.Errorf("content = %q", got)
		}
		var settings map[string]json.RawMessage
		n.ok(&settings, "GET", path+"alice/settings", "")
		if string(settings["exported_handlers"]) != `["fetch"]` {
			t.Errorf("settings lack the unknown field: %v", settings)
		}

		// Metadata alone keeps the code.
		n.ok(&up, "PUT", path+"alice", form(`{"bindings":[{"name":"B","type":"plain_text","text":"b"}],"keep_bindings":["secret_text"]}`), boundary)
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "export default {}" {
			t.Errorf("content = %q", got)
		}
		var secrets []wire.Secret
		n.ok(&secrets, "GET", path+"alice/secrets", "")
		if len(secrets) != 1 {
			t.Errorf("secrets = %+v", secrets)
		}

		// What is wrong is refused, and changes nothing.
		n.fails(400, 10021, "PUT", path+"bad", form(`{"main_module":"index.js"}`, "index.js", "throw 1"), boundary)
		n.fails(400, 10021, "PUT", path+"bad", form(`{"bindings":[]}`), boundary)
		n.fails(400, 10021, "PUT", path+"bad", form(`not JSON`, "index.js", "x"), boundary)
		n.fails(400, 10021, "PUT", path+"bad", form(`{"main_module":"other.js"}`, "index.js", "x"), boundary)
		n.fails(400, 10181, "PUT", path+"bad", form(`{"main_module":"index.js","bindings":[{"name":"D","type":"d1","id":"x"}]}`, "index.js", "x"), boundary)
		n.fails(400, 10057, "PUT", path+"bad?bindings_inherit=strict", form(`{"main_module":"index.js","bindings":[{"name":"D","type":"inherit"}]}`, "index.js", "x"), boundary)
		n.fails(415, 10001, "PUT", path+"bad", "x", "Content-Type: text/html")
		n.fails(400, 10016, "PUT", path+"b%20d", form(simple, "index.js", "x"), boundary)
		n.fails(404, missing, "GET", path+"bad/settings", "")
		n.fails(404, 100119, "PUT", spaces+"/nope/scripts/x", form(simple, "index.js", "x"), boundary)
	})
}

func TestServiceWorkerUpload(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		var up wire.Upload
		n.ok(&up, "PUT", path+"old", "addEventListener('fetch', e => e.respondWith(new Response('x')))", "Content-Type: application/javascript")
		if up.HasModules || up.EntryPoint == "" {
			t.Errorf("upload = %+v", up)
		}
	})
}

func TestPutContent(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		n.ok(nil, "PUT", path+"alice", form(simple, "index.js", "one"), boundary)
		var up wire.Upload
		n.ok(&up, "PUT", path+"alice/content", form(`{"main_module":"new.js"}`, "new.js", "two"), boundary)
		if up.EntryPoint != "new.js" || len(up.Bindings) != 2 {
			t.Errorf("upload = %+v", up)
		}
		n.ok(nil, "PUT", path+"alice/content", form(`{}`, "third.js", "three"), boundary, "CF-WORKER-MAIN-MODULE-PART: third.js")
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "three" {
			t.Errorf("content = %q", got)
		}
		n.fails(404, missing, "PUT", path+"bob/content", form(`{"main_module":"new.js"}`, "new.js", "two"), boundary)
		n.fails(400, 10021, "PUT", path+"alice/content", form(`{"main_module":"new.js"}`), boundary)
	})
}

func TestPatchSettings(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		n.ok(nil, "PUT", path+"alice", form(simple, "index.js", "one"), boundary)
		var got wire.Settings
		part := "--xx\r\nContent-Disposition: form-data; name=\"settings\"\r\n\r\n" +
			`{"tags":["x","y"],"logpush":true,"compatibility_date":"2026-02-02"}` + "\r\n--xx--\r\n"
		a := n.ok(nil, "PATCH", path+"alice/settings", part, boundary)
		if err := json.Unmarshal(a.Result, &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Tags, []string{"x", "y"}) || !got.Logpush || got.CompatibilityDate != "2026-02-02" || len(got.Bindings) != 2 {
			t.Errorf("settings = %s", a.Result)
		}
		fields := ""
		for _, tag := range []string{"p", "q"} {
			fields += "--xx\r\nContent-Disposition: form-data; name=\"settings[tags][]\"\r\n\r\n" + tag + "\r\n"
		}
		n.ok(nil, "PATCH", path+"alice/settings", fields+"--xx--\r\n", boundary)
		var tags []string
		n.ok(&tags, "GET", path+"alice/tags", "")
		if !slices.Equal(tags, []string{"p", "q"}) {
			t.Errorf("tags = %q", tags)
		}
		var versions wire.Versions
		n.ok(&versions, "GET", path+"alice/versions", "")
		if len(versions.Items) != 3 {
			t.Errorf("%d versions, want one for each change of settings", len(versions.Items))
		}

		var script wire.ScriptSettings
		n.ok(&script, "PATCH", path+"alice/script-settings", `{"tags":["z"],"logpush":false,"observability":{"enabled":true},"tail_consumers":[]}`, "Content-Type: application/json")
		if !slices.Equal(script.Tags, []string{"z"}) || script.Logpush || !strings.Contains(string(script.Observability), "true") {
			t.Errorf("script settings = %+v", script)
		}
		n.ok(&versions, "GET", path+"alice/versions", "")
		if len(versions.Items) != 3 {
			t.Errorf("script settings made a version")
		}
		n.fails(400, 10021, "PATCH", path+"alice/script-settings", `{"tags":["a,b"]}`, "Content-Type: application/json")
		n.fails(404, missing, "PATCH", path+"bob/script-settings", `{"tags":[]}`, "Content-Type: application/json")
		n.fails(404, missing, "PATCH", path+"bob/settings", part, boundary)
	})
}

func TestSecrets(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		n.ok(nil, "PUT", path+"alice", form(simple, "index.js", "one"), boundary)
		var secret wire.Secret
		a := n.ok(&secret, "PUT", path+"alice/secrets", `{"name":"API_KEY","text":"hidden","type":"secret_text"}`, "Content-Type: application/json")
		if secret.Name != "API_KEY" || secret.Type != "secret_text" || strings.Contains(a.body, "hidden") {
			t.Errorf("secret = %s", a.Result)
		}
		n.ok(&secret, "PUT", path+"alice/secrets", `{"name":"SIGN","type":"secret_key","algorithm":{"name":"HMAC","hash":"SHA-256"},"format":"raw","usages":["sign"],"key_base64":"aGlkZGVuIQ=="}`)
		var all map[string]wire.Secret
		a = n.ok(&all, "PATCH", path+"alice/secrets-bulk", `{"secrets":{"ONE":{"name":"ONE","text":"hidden","type":"secret_text"},"API_KEY":null}}`, "Content-Type: application/merge-patch+json")
		if len(all) != 3 || all["ONE"].Name != "ONE" || all["API_KEY"].Name != "" || strings.Contains(a.body, "hidden") {
			t.Errorf("secrets = %s", a.Result)
		}
		if a := n.ok(nil, "DELETE", path+"alice/secrets/ONE?url_encoded=true", ""); string(a.Result) != "null" {
			t.Errorf("deleted: %s", a.Result)
		}
		var list []wire.Secret
		n.ok(&list, "GET", path+"alice/secrets", "")
		if len(list) != 2 {
			t.Errorf("secrets = %+v", list)
		}
		n.fails(404, 10056, "DELETE", path+"alice/secrets/ONE", "")
		n.fails(400, 10053, "PUT", path+"alice/secrets", `{"name":"GREETING","text":"x","type":"secret_text"}`)
		n.fails(400, 10021, "PUT", path+"alice/secrets", `{"name":"X","type":"plain_text","text":"x"}`)
		n.fails(400, 10026, "PUT", path+"alice/secrets", `{`)
		n.fails(400, 10026, "PUT", path+"alice/secrets", ``)
		n.fails(400, 10026, "PATCH", path+"alice/secrets-bulk", `{}`)
		n.fails(404, missing, "PUT", path+"bob/secrets", `{"name":"X","text":"x","type":"secret_text"}`)
		n.fails(404, missing, "DELETE", path+"bob/secrets/X", "")
		n.fails(404, missing, "PATCH", path+"bob/secrets-bulk", `{"secrets":{"ONE":null}}`)
	})
}

func TestVersionsAreDeployed(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		var up wire.Upload
		n.ok(&up, "PUT", path+"alice", form(simple, "index.js", "one"), boundary)
		var v wire.Version
		a := n.ok(&v, "POST", path+"alice/versions?bindings_inherit=strict",
			form(`{"main_module":"index.js","annotations":{"workers/message":"second","workers/tag":"v2"}}`, "index.js", "two"), boundary)
		if v.Number != 2 || v.ID == "" || v.Resources.Script.Etag == "" || v.StartupTimeMs != 7 || v.Metadata.HasPreview || v.Annotations["workers/tag"] != "v2" {
			t.Errorf("version = %s", a.Result)
		}
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "one" {
			t.Errorf("content before the deployment = %q", got)
		}
		var d wire.Deployment
		n.ok(&d, "POST", path+"alice/deployments", `{"strategy":"percentage","versions":[{"version_id":"`+v.ID+`","percentage":100}],"annotations":{"workers/message":null,"x":"y"}}`)
		if d.ID == "" || d.Versions[0].VersionID != v.ID || d.Annotations["x"] != "y" {
			t.Errorf("deployment = %+v", d)
		}
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "two" {
			t.Errorf("content after the deployment = %q", got)
		}
		n.ok(&d, "POST", path+"alice/deployments?force=true", `{"strategy":"percentage","versions":[{"version_id":"`+up.DeploymentID+`","percentage":100}]}`)
		if got := n.ok(nil, "GET", path+"alice/content", "").body; got != "one" {
			t.Errorf("content after the rollback = %q", got)
		}
		var deployments wire.Deployments
		n.ok(&deployments, "GET", path+"alice/deployments", "")
		if len(deployments.Deployments) != 3 {
			t.Errorf("deployments = %+v", deployments)
		}
		a = n.fails(400, 10021, "POST", path+"alice/deployments", `{"strategy":"percentage","versions":[{"version_id":"`+v.ID+`","percentage":50},{"version_id":"`+up.DeploymentID+`","percentage":50}]}`)
		if !strings.Contains(a.Errors[0].Message, "split") {
			t.Errorf("a split is refused with %q", a.Errors[0].Message)
		}
		n.fails(404, 10007, "POST", path+"alice/deployments", `{"strategy":"percentage","versions":[{"version_id":"00000000-0000-4000-8000-000000000000","percentage":100}]}`)
		n.fails(404, 10007, "POST", path+"alice/deployments", `{"strategy":"percentage","versions":[{"version_id":"nope","percentage":100}]}`)
		n.fails(400, 10021, "POST", path+"alice/deployments", `{}`)
		n.fails(400, 10026, "POST", path+"alice/deployments", ``)
		n.fails(404, missing, "POST", path+"bob/versions", form(simple, "index.js", "x"), boundary)
		n.fails(404, missing, "POST", path+"bob/deployments", `{"versions":[{"version_id":"`+v.ID+`","percentage":100}]}`)
	})
}

func TestDeleteScript(t *testing.T) {
	eachPlace(t, func(t *testing.T, n *node, path string, missing int) {
		n.ok(nil, "PUT", path+"alice", form(simple, "index.js", "one"), boundary)
		if a := n.ok(nil, "DELETE", path+"alice?force=true", "", "Content-Type: application/json"); string(a.Result) != "null" {
			t.Errorf("deleted: %s", a.Result)
		}
		n.fails(404, missing, "GET", path+"alice/settings", "")
		n.fails(404, missing, "DELETE", path+"alice", "")
		if told := slices.Contains(n.changed, "routes") && slices.Contains(n.changed, "schedules"); told != (path == inAcct) {
			t.Errorf("told of %q", n.changed)
		}
	})
}

func TestDeleteService(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "PUT", inAcct+"alice", form(simple, "index.js", "one"), boundary)
	n.ok(nil, "PUT", inAcct+"alice/routes", `[{"pattern":"*/*"}]`)
	n.ok(nil, "DELETE", "ACCT/workers/services/alice?force=false", "")
	n.fails(404, 10007, "DELETE", "ACCT/workers/services/alice?force=false", "")
	n.fails(404, 10007, "GET", inAcct+"alice/routes", "")
}

func TestDeleteTagged(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", spaces, `{"name":"production"}`)
	for name, tags := range map[string]string{"a": `["free"]`, "b": `["free"]`, "c": `["free","keep"]`, "d": `[]`} {
		n.ok(nil, "PUT", inProd+name, form(`{"main_module":"index.js","tags":`+tags+`}`, "index.js", "x"), boundary)
	}
	all := strings.TrimSuffix(inProd, "/")
	n.fails(400, 10021, "DELETE", all, "")
	n.fails(400, 10021, "DELETE", all+"?tags=", "")
	n.fails(400, 10021, "DELETE", all+"?tags=free", "")
	n.fails(400, 10001, "DELETE", all+"?tags=free:yes&limit=x", "")
	var out wire.DeletedScripts
	n.ok(&out, "DELETE", all+"?tags=free:yes,keep:no&limit=1", "")
	if out.DeletedCount != 1 || out.Deleted[0].ID != "a" || !out.HasMore {
		t.Errorf("first = %+v", out)
	}
	n.ok(&out, "DELETE", all+"?tags=free%3Ayes%2Ckeep%3Ano", "")
	if out.DeletedCount != 1 || out.Deleted[0].ID != "b" || out.HasMore {
		t.Errorf("second = %+v", out)
	}
	n.ok(&out, "DELETE", all+"?tags=free:yes,keep:no", "")
	if out.DeletedCount != 0 || out.Deleted == nil {
		t.Errorf("third = %+v", out)
	}
	var list []wire.ListedScript
	n.ok(&list, "GET", all, "")
	if len(list) != 2 {
		t.Errorf("left: %+v", list)
	}
}

// TestNamespaceToken follows wrangler's deploy into a namespace with a token of that namespace.
func TestNamespaceToken(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", spaces, `{"name":"production"}`)
	n.ok(nil, "POST", spaces, `{"name":"staging"}`)
	n.ok(nil, "PUT", inAcct+"alice", form(simple, "index.js", "the platform's"), boundary)
	writer, reader := n.mint(true, "production"), n.mint(false, "production")

	n.refused(404, 10092, writer, "GET", inProd+"alice", "")
	n.refused(404, 10007, writer, "GET", inAcct+"alice/secrets", "")
	n.refused(404, 10007, writer, "GET", inAcct+"alice/settings", "")
	up := form(simple, "index.js", "the customer's")
	n.refused(403, 9109, reader, "PUT", inProd+"alice", up, boundary)
	if a := n.send("PUT", inProd+"alice", writer, up, boundary); a.status != 200 {
		t.Errorf("upload: %d %s", a.status, a.body)
	}
	for _, token := range []string{writer, reader} {
		if a := n.send("GET", inProd+"alice", token, ""); a.status != 200 {
			t.Errorf("read: %d %s", a.status, a.body)
		}
		n.refused(403, 9109, token, "PUT", spaces+"/staging/scripts/alice", up, boundary)
		n.refused(403, 9109, token, "GET", spaces+"/staging/scripts/alice", "")
		n.refused(403, 9109, token, "GET", spaces+"/nope/scripts/alice", "")
		n.refused(403, 9109, token, "PUT", inAcct+"alice", up, boundary)
		n.refused(403, 9109, token, "GET", inAcct+"alice", "")
		n.refused(403, 9109, token, "GET", spaces, "")
		n.refused(403, 9109, token, "DELETE", spaces+"/production", "")
		n.refused(403, 9109, token, "PATCH", spaces+"/production", `{"trusted_workers":true}`)
		n.refused(403, 9109, token, "GET", "/zones", "")
		n.refused(403, 9109, token, "GET", "ACCT/tokens", "")
	}
}
