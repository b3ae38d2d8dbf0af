package api

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"
)

const (
	spaces = "ACCT/workers/dispatch/namespaces"
	inProd = spaces + "/production/scripts/"
	inAcct = "ACCT/workers/scripts/"
)

// put stores a script as package deploy would, with one module, a variable and a secret.
func (n *node) put(ref atoll.ScriptRef, code string, change func(*atoll.Version)) *atoll.Script {
	n.t.Helper()
	hash, err := n.blobs.PutBytes(context.Background(), []byte(code))
	if err != nil {
		n.t.Fatal(err)
	}
	v := &atoll.Version{
		MainModule: "index.js", Etag: hash, CompatibilityDate: "2026-01-01", Handlers: []string{"fetch"}, StartupMs: 3,
		NamedHandlers: []atoll.NamedHandlers{{Name: "Admin", Handlers: []string{"fetch"}}},
		Modules:       []atoll.Module{{Name: "index.js", Type: atoll.ESModule, ContentType: "application/javascript+module", Hash: hash, Size: int64(len(code))}},
		Bindings: []atoll.Binding{
			{Name: "GREETING", Type: "plain_text", Fields: json.RawMessage(`{"name":"GREETING","type":"plain_text","text":"hi"}`)},
			{Name: "KEY", Type: "secret_text", Fields: json.RawMessage(`{"name":"KEY","type":"secret_text"}`), Secret: []byte("hidden-" + code)},
		},
		Limits:      atoll.Limits{CPUMs: 50},
		Annotations: map[string]string{"workers/message": "first"},
		Extra:       map[string]json.RawMessage{"exported_handlers": json.RawMessage(`["fetch"]`), "bindings": json.RawMessage(`"never"`)},
	}
	if change != nil {
		change(v)
	}
	tags := []string{"a", "site:1"}
	s, err := n.db.PutVersion(context.Background(), ref, v, store.ScriptChange{Deploy: true, Source: "wrangler", Tags: &tags})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// both runs a test with a user Worker and with an account script, stored under the name alice.
func both(t *testing.T, do func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int)) {
	for name, ref := range map[string]atoll.ScriptRef{
		"namespace": {Account: theAccount, Namespace: "production", Name: "alice"},
		"account":   {Account: theAccount, Name: "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.ok(nil, "POST", spaces, `{"name":"production"}`)
			n.put(ref, "export default {}", nil)
			if ref.Namespace == "" {
				do(t, n, ref, inAcct, 10007)
			} else {
				do(t, n, ref, inProd, 10092)
			}
		})
	}
}

func TestShowScript(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		var list []wire.ListedScript
		n.ok(&list, "GET", strings.TrimSuffix(path, "/"), "")
		if len(list) != 1 {
			t.Fatalf("list = %+v", list)
		}
		s := list[0].Script
		if s.ID != "alice" || len(s.Tag) != 32 || s.Etag == "" || s.LastDeployedFrom != "wrangler" || !s.HasModules || s.HasAssets ||
			!slices.Equal(s.Tags, []string{"a", "site:1"}) || s.UsageModel != "standard" || s.CreatedOn.IsZero() || s.ModifiedOn.IsZero() ||
			s.CompatibilityDate != "2026-01-01" || s.Limits.CPUMs != 50 || s.DispatchNamespace != string(ref.Namespace) {
			t.Errorf("script = %+v", s)
		}
		if nested := list[0].Nested; (nested != nil) != (ref.Namespace != "") || nested != nil && nested.ID != "alice" {
			t.Errorf("nested = %+v", nested)
		}
		for query, want := range map[string]int{"?tags=a:yes": 1, "?tags=a%3Ano": 0, "?tags=site:1:yes,b:no": 1, "?limit=1": 1, "?cursor=": 1} {
			n.ok(&list, "GET", strings.TrimSuffix(path, "/")+query, "")
			if len(list) != want {
				t.Errorf("%s: %d scripts, want %d", query, len(list), want)
			}
		}
		n.fails(400, 10021, "GET", strings.TrimSuffix(path, "/")+"?tags=a", "")
		n.fails(400, 10021, "GET", strings.TrimSuffix(path, "/")+"?cursor=%25", "")
		n.fails(400, 10001, "GET", strings.TrimSuffix(path, "/")+"?limit=1001", "")
	})
}

func TestGetNamespaceScript(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", spaces, `{"name":"production"}`)
	ref := atoll.ScriptRef{Account: theAccount, Namespace: "production", Name: "alice"}
	n.put(ref, "x", nil)
	tag := "v1"
	if _, err := n.db.UpdateScript(context.Background(), ref, store.ScriptChange{MigrationTag: &tag}); err != nil {
		t.Fatal(err)
	}
	var got wire.NamespaceScript
	n.ok(&got, "GET", inProd+"alice", "")
	if got.DispatchNamespace != "production" || got.Script.ID != "alice" || got.Script.MigrationTag != "v1" || got.CreatedOn.IsZero() {
		t.Errorf("script = %+v", got)
	}
	n.fails(404, 10092, "GET", inProd+"bob", "")
	n.fails(400, 10016, "GET", inProd+"b%2Fb", "")
	n.fails(404, 100119, "GET", spaces+"/nope/scripts/alice", "")
	var ns wire.Namespace
	n.ok(&ns, "GET", spaces+"/production", "")
	if ns.ScriptCount != 1 {
		t.Errorf("script_count = %d", ns.ScriptCount)
	}
}

func TestPages(t *testing.T) {
	n := newNode(t)
	n.putScripts("a", "b", "c", "d", "e")
	var names []string
	for cursor := ""; ; {
		var list []wire.ListedScript
		a := n.ok(&list, "GET", "ACCT/workers/scripts?limit=2&cursor="+cursor, "")
		for _, s := range list {
			names = append(names, s.ID)
		}
		if a.ResultInfo.Count != len(list) {
			t.Errorf("count %d of %d scripts", a.ResultInfo.Count, len(list))
		}
		if cursor = a.ResultInfo.Cursor; cursor == "" {
			break
		}
	}
	if got := strings.Join(names, ""); got != "abcde" {
		t.Errorf("pages have %s", got)
	}
}

func TestGetSettings(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		var got map[string]json.RawMessage
		a := n.ok(&got, "GET", path+"alice/settings", "")
		for _, field := range []string{"bindings", "compatibility_date", "compatibility_flags", "limits", "logpush", "placement", "tags",
			"tail_consumers", "usage_model", "exported_handlers"} {
			if got[field] == nil {
				t.Errorf("settings lack %s: %s", field, a.Result)
			}
		}
		var settings wire.Settings
		if err := json.Unmarshal(a.Result, &settings); err != nil || len(settings.Bindings) != 2 {
			t.Errorf("settings = %+v, %v", settings, err)
		}
		var bindings []json.RawMessage
		b := n.ok(&bindings, "GET", path+"alice/bindings", "")
		var secrets []wire.Secret
		c := n.ok(&secrets, "GET", path+"alice/secrets", "")
		if len(bindings) != 2 || len(secrets) != 1 || secrets[0].Name != "KEY" || secrets[0].Type != "secret_text" {
			t.Errorf("bindings = %s, secrets = %+v", bindings, secrets)
		}
		var secret wire.Secret
		n.ok(&secret, "GET", path+"alice/secrets/KEY?url_encoded=true", "")
		n.fails(404, 10056, "GET", path+"alice/secrets/GREETING", "")
		n.fails(404, 10056, "GET", path+"alice/secrets/NOPE", "")
		for _, a := range []answer{a, b, c} {
			if strings.Contains(a.body, "hidden") {
				t.Errorf("a secret's value is shown: %s", a.body)
			}
		}
		var script wire.ScriptSettings
		n.ok(&script, "GET", path+"alice/script-settings", "")
		if len(script.Tags) != 2 {
			t.Errorf("script settings = %+v", script)
		}
		for _, what := range []string{"/settings", "/bindings", "/secrets", "/secrets/KEY", "/script-settings", "/tags", "/content", "/versions", "/deployments"} {
			n.fails(404, missing, "GET", path+"bob"+what, "")
		}
	})
}

func TestTags(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		var tags []string
		want := func(list ...string) {
			t.Helper()
			n.ok(&tags, "GET", path+"alice/tags", "")
			if !slices.Equal(tags, list) {
				t.Errorf("tags = %q, want %q", tags, list)
			}
		}
		want("a", "site:1")
		n.ok(nil, "PUT", path+"alice/tags", `["x","y","x"]`)
		want("x", "y")
		n.ok(nil, "PUT", path+"alice/tags/my%20tag", "")
		n.ok(nil, "PUT", path+"alice/tags/a%2Fb", "")
		n.ok(nil, "PUT", path+"alice/tags/100%25", "")
		n.ok(nil, "PUT", path+"alice/tags/x", "")
		want("x", "y", "my tag", "a/b", "100%")
		for range 2 {
			if a := n.ok(nil, "DELETE", path+"alice/tags/my%20tag", ""); string(a.Result) != "null" {
				t.Errorf("deleted: %s", a.Result)
			}
		}
		n.ok(nil, "DELETE", path+"alice/tags/a%2Fb", "")
		n.ok(nil, "DELETE", path+"alice/tags/100%25", "")
		want("x", "y")
		n.ok(nil, "PUT", path+"alice/tags", "null", "Content-Type: application/json")
		want()
		n.fails(400, 10021, "PUT", path+"alice/tags", `["1","2","3","4","5","6","7","8","9"]`)
		n.fails(400, 10021, "PUT", path+"alice/tags", `["a,b"]`)
		n.fails(400, 10021, "PUT", path+"alice/tags/a%26b", "")
		n.fails(400, 10026, "PUT", path+"alice/tags", `{"a":1}`)
		n.fails(400, 10026, "PUT", path+"alice/tags", "")
		for i := range 8 {
			n.ok(nil, "PUT", path+"alice/tags/"+string(rune('a'+i)), "")
		}
		n.fails(400, 10021, "PUT", path+"alice/tags/ninth", "")
		n.fails(404, missing, "PUT", path+"bob/tags", `["x"]`)
		n.fails(404, missing, "PUT", path+"bob/tags/x", "")
		n.fails(404, missing, "DELETE", path+"bob/tags/x", "")
	})
}

func TestGetContent(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		for _, what := range []string{"/content", "/content/v2"} {
			a := n.ok(nil, "GET", path+"alice"+what, "")
			if a.body != "export default {}" || a.header.Get("Cf-Entrypoint") != "index.js" || a.header.Get("Etag") == "" ||
				a.header.Get("Content-Type") != "application/javascript+module" {
				t.Errorf("%s = %q, %v", what, a.body, a.header)
			}
		}
		if ref.Namespace == "" {
			if a := n.ok(nil, "GET", path+"alice", ""); a.body != "export default {}" {
				t.Errorf("script = %q", a.body)
			}
			n.fails(404, 10007, "GET", path+"bob", "")
		}
		first := n.put(ref, "export default {}", nil).Active
		n.put(ref, "import './lib.js'", func(v *atoll.Version) {
			lib := v.Modules[0]
			lib.Name = "./sub dir/lib.js"
			smap := atoll.Module{Name: "index.js.map", Type: atoll.SourceMap, Hash: lib.Hash, Size: lib.Size}
			v.Modules = append(v.Modules, lib, smap)
		})
		a := n.ok(nil, "GET", path+"alice/content", "")
		_, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		form := multipart.NewReader(strings.NewReader(a.body), params["boundary"])
		var parts []string
		for {
			p, err := form.NextPart()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(p)
			if err != nil {
				t.Fatal(err)
			}
			parts = append(parts, p.FormName()+"="+string(b))
		}
		if want := []string{"index.js=import './lib.js'", "./sub dir/lib.js=import './lib.js'"}; !slices.Equal(parts, want) {
			t.Errorf("parts = %q, want %q", parts, want)
		}
		if a := n.ok(nil, "GET", path+"alice/content?version="+string(first), ""); a.body != "export default {}" {
			t.Errorf("the first version's content = %q", a.body)
		}
		if a := n.send("HEAD", path+"alice/content", theToken, ""); a.status != 200 || a.body != "" {
			t.Errorf("HEAD: %d %q", a.status, a.body)
		}
	})
}

// TestNamesakes holds that a user Worker and an account script of one name do not see each other.
func TestNamesakes(t *testing.T) {
	n := newNode(t)
	n.ok(nil, "POST", spaces, `{"name":"production"}`)
	n.ok(nil, "POST", spaces, `{"name":"staging"}`)
	n.put(atoll.ScriptRef{Account: theAccount, Namespace: "production", Name: "alice"}, "in production", nil)
	n.put(atoll.ScriptRef{Account: theAccount, Name: "bob"}, "in the account", nil)
	for _, what := range []string{"/secrets", "/settings", "", "/content", "/deployments", "/versions", "/tags", "/schedules", "/routes", "/references", "/subdomain"} {
		n.fails(404, 10007, "GET", inAcct+"alice"+what, "")
	}
	n.fails(404, 10090, "GET", "ACCT/workers/services/alice", "")
	n.fails(404, 10007, "GET", "ACCT/workers/workers/alice", "")
	for _, what := range []string{"/secrets", "/settings", "", "/content", "/tags", "/versions"} {
		n.fails(404, 10092, "GET", inProd+"bob"+what, "")
		n.fails(404, 10092, "GET", spaces+"/staging/scripts/alice"+what, "")
	}
	n.put(atoll.ScriptRef{Account: theAccount, Namespace: "production", Name: "bob"}, "in production", nil)
	if a := n.ok(nil, "GET", inProd+"bob/content", ""); a.body != "in production" {
		t.Errorf("user Worker = %q", a.body)
	}
	if a := n.ok(nil, "GET", inAcct+"bob", ""); a.body != "in the account" {
		t.Errorf("account script = %q", a.body)
	}
}

func TestVersionsAndDeployments(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		second := n.put(ref, "second", nil)
		var versions wire.Versions
		a := n.ok(&versions, "GET", path+"alice/versions?deployable=true", "")
		if len(versions.Items) != 2 || versions.Items[0].Number != 2 || *a.ResultInfo.TotalCount != 2 || versions.Items[0].ID != string(second.Active) {
			t.Fatalf("versions = %+v", versions)
		}
		n.ok(&versions, "GET", path+"alice/versions?page=2&per_page=1", "")
		if len(versions.Items) != 1 || versions.Items[0].Number != 1 {
			t.Errorf("second page = %+v", versions)
		}
		var v wire.Version
		b := n.ok(&v, "GET", path+"alice/versions/"+string(second.Active), "")
		if v.Number != 2 || v.Metadata.Source != "wrangler" || v.Metadata.AuthorEmail == "" || v.Resources.Script.Etag == "" ||
			v.Resources.ScriptRuntime.CompatibilityDate != "2026-01-01" || len(v.Resources.Bindings) != 2 || v.Annotations["workers/message"] != "first" ||
			!slices.Equal(v.Resources.Script.Handlers, []string{"fetch"}) || v.StartupTimeMs != 3 || v.Metadata.CreatedOn.IsZero() {
			t.Errorf("version = %s", b.Result)
		}
		if strings.Contains(a.body+b.body, "hidden") {
			t.Errorf("a secret's value is shown: %s", b.body)
		}
		n.fails(404, 10007, "GET", path+"alice/versions/nope", "")
		n.fails(404, 10007, "GET", path+"alice/versions/00000000-0000-4000-8000-000000000000", "")

		var deployments wire.Deployments
		n.ok(&deployments, "GET", path+"alice/deployments", "")
		if len(deployments.Deployments) != 2 {
			t.Fatalf("deployments = %+v", deployments)
		}
		d := deployments.Deployments[0]
		if d.Strategy != "percentage" || d.AuthorEmail == "" || len(d.Versions) != 1 || d.Versions[0] != (wire.DeploymentVersion{VersionID: string(second.Active), Percentage: 100}) {
			t.Errorf("deployment = %+v", d)
		}
		var one wire.Deployment
		n.ok(&one, "GET", path+"alice/deployments/"+d.ID, "")
		if one.ID != d.ID {
			t.Errorf("deployment = %+v", one)
		}
		n.fails(404, 10007, "GET", path+"alice/deployments/nope", "")
	})
}

func TestServices(t *testing.T) {
	n := newNode(t)
	alice := atoll.ScriptRef{Account: theAccount, Name: "alice"}
	n.put(alice, "x", func(v *atoll.Version) {
		v.Bindings = append(v.Bindings, atoll.Binding{Name: "BOB", Type: "service", Fields: json.RawMessage(`{"name":"BOB","type":"service","service":"bob"}`)})
	})
	n.put(atoll.ScriptRef{Account: theAccount, Name: "dispatcher"}, "y", func(v *atoll.Version) {
		v.Bindings = append(v.Bindings,
			atoll.Binding{Name: "A", Type: "service", Fields: json.RawMessage(`{"name":"A","type":"service","service":"alice"}`)},
			atoll.Binding{Name: "D", Type: "dispatch_namespace", Fields: json.RawMessage(`{"name":"D","type":"dispatch_namespace","namespace":"production",
				"outbound":{"worker":{"service":"alice"},"params":[{"name":"p"},"q"]}}`)})
	})
	tails := json.RawMessage(`[{"service":"alice"}]`)
	if _, err := n.db.UpdateScript(context.Background(), atoll.ScriptRef{Account: theAccount, Name: "dispatcher"}, store.ScriptChange{TailConsumers: &tails}); err != nil {
		t.Fatal(err)
	}

	var service wire.Service
	n.ok(&service, "GET", "ACCT/workers/services/alice", "")
	env := service.DefaultEnvironment
	if service.ID != "alice" || env.Environment != "production" || len(env.Script.Tag) != 32 || env.Script.LastDeployedFrom != "wrangler" || len(service.Environments) != 1 {
		t.Errorf("service = %+v", service)
	}
	n.fails(404, 10090, "GET", "ACCT/workers/services/nope", "")

	var worker wire.Worker
	a := n.ok(&worker, "GET", "ACCT/workers/workers/alice", "")
	if worker.Name != "alice" || worker.ID != env.Script.Tag || !strings.Contains(string(a.Result), `"subdomain":{"enabled":false`) || worker.DeployedOn == nil {
		t.Errorf("worker = %s", a.Result)
	}
	n.fails(404, 10007, "GET", "ACCT/workers/workers/nope", "")

	var refs wire.References
	n.ok(&refs, "GET", inAcct+"alice/references", "")
	if len(refs.Services.Incoming) != 1 || refs.Services.Incoming[0] != (wire.ServiceReference{Name: "A", Service: "dispatcher", Environment: "production"}) ||
		len(refs.Services.Outgoing) != 1 || refs.Services.Outgoing[0].Service != "bob" || len(refs.DispatchOutbounds) != 1 ||
		refs.DispatchOutbounds[0].Namespace != "production" || len(refs.DispatchOutbounds[0].Params) != 2 || refs.DispatchOutbounds[0].Params[1].Name != "q" {
		t.Errorf("references = %+v", refs)
	}
	n.fails(404, 10007, "GET", inAcct+"nope/references", "")

	var producers []wire.TailProducer
	n.ok(&producers, "GET", "ACCT/workers/tails/by-consumer/alice", "")
	if len(producers) != 1 || producers[0].Producer.Service != "dispatcher" || producers[0].Consumer.Service != "alice" {
		t.Errorf("tail producers = %+v", producers)
	}
	for _, path := range []string{"ACCT/workers/tails/by-consumer/nope", "ACCT/workers/durable_objects/namespaces?per_page=1000&page=1"} {
		if a := n.ok(nil, "GET", path, ""); string(a.Result) != "[]" {
			t.Errorf("%s = %s", path, a.Result)
		}
	}
}

func TestNotServed(t *testing.T) {
	both(t, func(t *testing.T, n *node, ref atoll.ScriptRef, path string, missing int) {
		n.fails(400, 10015, "POST", path+"alice/tails", `{"filters":[]}`, "Content-Type: text/plain;charset=UTF-8")
		n.fails(400, 10015, "POST", "ACCT/event_subscriptions/subscriptions", `{}`)
		n.fails(400, 10015, "GET", "ACCT/r2/buckets/b/lifecycle", "")
	})
}
