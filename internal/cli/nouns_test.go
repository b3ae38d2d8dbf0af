package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"atoll.dev/atoll/internal/wire"
)

const (
	namespaces = "/workers/dispatch/namespaces"
	production = `{"namespace_id":"n1","namespace_name":"production","script_count":2,"created_on":"2026-01-02T03:04:05Z","modified_on":"2026-01-02T03:04:05Z"}`
)

// local is how a time of the API is shown on this machine.
func local(t *testing.T, s string) string {
	t.Helper()
	tm, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return when(wire.Time{Time: tm})
}

func TestNamespaces(t *testing.T) {
	n := newNode(t, map[string]string{
		"GET " + namespaces:                    "[" + production + "]",
		"POST " + namespaces:                   production,
		"GET " + namespaces + "/production":    production,
		"PATCH " + namespaces + "/production":  strings.Replace(production, `"script_count":2`, `"trusted_workers":true`, 1),
		"DELETE " + namespaces + "/production": "null",
	})
	made := local(t, "2026-01-02T03:04:05Z")
	n.run("namespace", "list").prints(t, "NAME        SCRIPTS  TRUSTED  CREATED              ID\nproduction  2        no       "+made+"  n1\n")
	n.run("namespace", "get", "production").prints(t, "Name:      production\nID:        n1\nScripts:   2\nTrusted:   no\nCreated:   "+made+"\nModified:  "+made+"\n")
	n.run("namespace", "create", "production", "--trusted").prints(t, "Made dispatch namespace production (n1)\n")
	n.did(`POST ` + namespaces + ` {"name":"production","trusted_workers":true}`)
	n.run("namespace", "trust", "production").prints(t, "Workers deployed to production from now on are trusted: yes\n")
	n.did(`PATCH ` + namespaces + `/production {"trusted_workers":true}`)
	n.run("namespace", "rename", "production", "prod")
	n.did(`PATCH ` + namespaces + `/production {"name":"prod"}`)
	n.run("namespace", "delete", "production").prints(t, "Deleted dispatch namespace production\n")
	n.did(`DELETE ` + namespaces + `/production`)
}

func TestNamespaceSettings(t *testing.T) {
	limited := strings.Replace(production, `"script_count":2`, `"limits":{"cpu_ms":50,"subrequests":7,"memory_mb":64},"jitless":true`, 1)
	n := newNode(t, map[string]string{"PATCH " + namespaces + "/production": limited, "GET " + namespaces + "/production": limited})
	made := local(t, "2026-01-02T03:04:05Z")
	n.run("namespace", "set", "production", "--cpu-ms", "50", "--subrequests", "7", "--memory-mb", "64", "--jitless").prints(t,
		"Workers of production from now on: 50 ms of CPU time, 7 subrequests, 64 MiB of memory, no JIT\n")
	n.did(`PATCH ` + namespaces + `/production {"limits":{"cpu_ms":50,"subrequests":7,"memory_mb":64},"jitless":true}`)
	n.run("namespace", "get", "production").prints(t, "Name:      production\nID:        n1\nScripts:   0\nTrusted:   no\n"+
		"Limits:    50 ms of CPU time, 7 subrequests, 64 MiB of memory, no JIT\nCreated:   "+made+"\nModified:  "+made+"\n")
	n = newNode(t, map[string]string{"PATCH " + namespaces + "/production": production})
	n.run("namespace", "set", "production", "--cpu-ms", "0", "--jitless=false").prints(t, "Workers of production from now on: no limits of their own\n")
	n.did(`PATCH ` + namespaces + `/production {"limits":{"cpu_ms":null},"jitless":false}`)
	n.run("namespace", "set", "production").fails(t, exitUsage, "atoll: error: nothing to set: give at least one flag\n"+
		"atoll: hint: 'atoll namespace set --help' shows how to use it\n")
	n.did()
}

func TestRoutes(t *testing.T) {
	n := newNode(t, map[string]string{
		"GET //zones":                         `[{"id":"z1","name":"a.test"},{"id":"z2","name":"b.a.test"}]`,
		"GET //zones/z1/workers/routes":       `[{"id":"r1","pattern":"*.a.test/*","script":"one"}]`,
		"GET //zones/z2/workers/routes":       `[{"id":"r2","pattern":"x.b.a.test/*"}]`,
		"POST //zones/z2/workers/routes":      `{"id":"r3","pattern":"*.b.a.test/*","script":"two"}`,
		"PUT //zones/z1/workers/routes/r1":    `{"id":"r1","pattern":"*.a.test/*"}`,
		"DELETE //zones/z2/workers/routes/r2": `{"id":"r2"}`,
	})
	n.run("route", "list").prints(t, "PATTERN       SCRIPT  ZONE      ID\n*.a.test/*    one     a.test    r1\nx.b.a.test/*  (none)  b.a.test  r2\n")
	n.run("route", "add", "*.b.a.test/*", "two").prints(t, "*.b.a.test/* leads to two\n")
	n.did(`POST //zones/z2/workers/routes {"pattern":"*.b.a.test/*","script":"two"}`)
	n.run("route", "add", "*.a.test/*").prints(t, "*.a.test/* leads to no Worker\n")
	n.did(`PUT //zones/z1/workers/routes/r1 {"pattern":"*.a.test/*"}`)
	n.run("route", "delete", "x.b.a.test/*").prints(t, "Deleted route x.b.a.test/*\n")
	n.did("DELETE //zones/z2/workers/routes/r2")
	n.run("route", "delete", "nosuch").fails(t, exitFailed, "atoll: error: there is no route nosuch\natoll: hint: 'atoll route list' shows the routes\n")
	n.run("route", "add", "*/*", "two").fails(t, exitFailed, "atoll: error: it is not clear which zone is meant\natoll: hint: name one of 'atoll zone list' with --zone\n")
	n.run("route", "add", "*/*", "two", "--zone", "c.test").fails(t, exitFailed, "atoll: error: there is no zone c.test\natoll: hint: 'atoll zone list' shows the zones, 'atoll zone create' makes one\n")
}

func TestTokens(t *testing.T) {
	n := newNode(t, map[string]string{
		"GET /tokens": `[{"id":"t1","name":"ci","status":"active","issued_on":"2026-01-02T03:04:05Z","policies":[{"effect":"allow",
			"permission_groups":[{"id":"x","name":"Write"}],"resources":{"com.atoll.dispatch_namespace.staging":"*"}}]}]`,
		"POST /tokens":      `{"id":"t2","name":"laptop","value":"s3cret"}`,
		"DELETE /tokens/t1": `{"id":"t1"}`,
	})
	n.run("token", "list").prints(t, "ID  NAME  MAY    WHERE              STATUS  CREATED              EXPIRES\n"+
		"t1  ci    write  namespace staging  active  "+local(t, "2026-01-02T03:04:05Z")+"  never\n")
	n.run("token", "create", "laptop").prints(t, "s3cret\n")
	n.did(`POST /tokens {"name":"laptop","policies":[{"effect":"allow","permission_groups":[{"id":"` + wire.GroupWriteID +
		`","name":"Write"}],"resources":{"com.cloudflare.api.account.` + acct + `":"*"}}]}`)
	n.run("token", "create", "laptop", "--read-only", "--namespace", "staging", "--expires", "2999-01-31")
	n.did(`POST /tokens {"name":"laptop","expires_on":"2999-01-31T00:00:00.000000Z","policies":[{"effect":"allow","permission_groups":[{"id":"` +
		wire.GroupReadID + `","name":"Read"}],"resources":{"com.atoll.dispatch_namespace.staging":"*"}}]}`)
	n.run("token", "delete", "t1").prints(t, "Deleted token t1\n")
	n.run("token", "create", "laptop", "--expires", "soon").fails(t, exitUsage, "atoll: error: cannot read the time soon\natoll: hint: give --expires as 720h or 2027-01-31\n")
}

func TestExpiry(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{
		"24h": "2026-11-24T12:00:00Z", "2026-12-31": "2026-12-31T00:00:00Z", "0s": "", "-1h": "", "2026-11-23": "", "x": "",
	} {
		got, err := expiry(in, now)
		switch {
		case want == "" && err == nil:
			t.Errorf("%s is accepted as %v", in, got)
		case want != "" && (err != nil || got.Format(time.RFC3339) != want):
			t.Errorf("%s = %v, %v", in, got, err)
		}
	}
}

func TestKV(t *testing.T) {
	const base = "/storage/kv/namespaces"
	n := newNode(t, map[string]string{
		"GET " + base:                                  `[{"id":"` + kv1 + `","title":"plans"}]`,
		"POST " + base:                                 `{"id":"` + kv1 + `","title":"plans"}`,
		"PUT " + base + "/" + kv1:                      `{}`,
		"DELETE " + base + "/" + kv1:                   `null`,
		"GET " + base + "/" + kv1 + "/keys":            `[{"name":"alice","metadata":{"a": 1}},{"name":"bob"}]`,
		"GET " + base + "/" + kv1 + "/values/a%2Fb":    "pro",
		"PUT " + base + "/" + kv1 + "/values/alice":    "null",
		"DELETE " + base + "/" + kv1 + "/values/alice": "null",
	})
	n.run("kv", "namespace", "list").prints(t, "TITLE  ID\nplans  "+kv1+"\n")
	n.run("kv", "namespace", "get", strings.ToUpper(kv1)).prints(t, "Title:  plans\nID:     "+kv1+"\n")
	n.run("kv", "namespace", "create", "plans").prints(t, "Made KV namespace plans ("+kv1+")\n")
	n.did(`POST ` + base + ` {"title":"plans"}`)
	n.run("kv", "namespace", "rename", "plans", "tariffs").prints(t, "Renamed KV namespace plans to tariffs\n")
	n.did(`PUT ` + base + "/" + kv1 + ` {"title":"tariffs"}`)
	n.run("kv", "key", "list", "plans").prints(t, "KEY    EXPIRES  METADATA\nalice           {\"a\":1}\nbob\n")
	n.run("kv", "key", "get", "plans", "a/b").prints(t, "pro")
	n.run("kv", "key", "put", kv1, "alice", "free").prints(t, "Set key alice of plans (4 bytes)\n")
	n.did("PUT " + base + "/" + kv1 + "/values/alice free")
	n.runIn("from stdin", "kv", "key", "put", kv1, "alice", "--file", "-")
	n.did("PUT " + base + "/" + kv1 + "/values/alice from stdin")
	n.run("kv", "key", "delete", "plans", "alice").prints(t, "Deleted key alice of plans\n")
	n.run("kv", "namespace", "delete", "plans").prints(t, "Deleted KV namespace plans\n")
	n.run("kv", "key", "list", "nosuch").fails(t, exitFailed, "atoll: error: there is no KV namespace nosuch\n"+
		"atoll: hint: 'atoll kv namespace list' shows the KV namespaces, 'atoll kv namespace create' makes one\n")
}

func TestZones(t *testing.T) {
	n := newNode(t, map[string]string{"GET //zones": `[{"id":"z1","name":"a.test","status":"active"}]`, "POST //zones": `{"id":"z2","name":"b.test"}`})
	n.run("zone", "list").prints(t, "NAME    STATUS  CREATED  ID\na.test  active           z1\n")
	n.run("zone", "create", "b.test").prints(t, "Made zone b.test (z2)\n")
}

func TestJSONIsWhatTheAPIAnswered(t *testing.T) {
	n := newNode(t, map[string]string{"GET /storage/kv/namespaces": `[{"id":"` + kv1 + `","title":"a<b","supports_url_encoding":true}]`})
	want := "[\n  {\n    \"id\": \"" + kv1 + "\",\n    \"title\": \"a<b\",\n    \"supports_url_encoding\": true\n  }\n]\n"
	if diff := cmp.Diff(want, n.run("kv", "namespace", "list", "--json").out); diff != "" {
		t.Error(diff)
	}
}

func TestEgress(t *testing.T) {
	const rules = `{"allow":["*.example.com","10.0.0.0/8"],"deny":[],"ports":["443"],"tcp":false,"modified_on":"2026-01-02T03:04:05Z"}`
	n := newNode(t, map[string]string{
		"GET " + namespaces + "/production/egress":                  `{"allow":[],"deny":[],"ports":[],"tcp":null,"scripts":["alice","bob"]}`,
		"PUT " + namespaces + "/production/egress":                  rules,
		"DELETE " + namespaces + "/production/egress":               "null",
		"GET " + namespaces + "/production/scripts/alice/egress":    rules,
		"PUT " + namespaces + "/production/scripts/alice/egress":    rules,
		"DELETE " + namespaces + "/production/scripts/alice/egress": "null",
		"PUT /workers/scripts/router/egress":                        rules,
	})
	n.run("egress", "get", "--namespace", "production").prints(t, "Allow:               everything\nDeny:                nothing\nPorts:               all\nTCP:                 default\nScripts with rules:  alice, bob\n")
	n.run("egress", "get", "--namespace", "production", "alice").prints(t, "Allow:     *.example.com, 10.0.0.0/8\nDeny:      nothing\nPorts:     443\nTCP:       off\nModified:  "+local(t, "2026-01-02T03:04:05Z")+"\n")
	n.run("egress", "set", "--namespace", "production", "--deny", "x.example", "--port", "80", "--port", "443").prints(t, "Set the egress rules of namespace production\n")
	n.run("egress", "set", "--namespace", "production", "alice", "--allow", "*.example.com", "--tcp", "on").prints(t, "Set the egress rules of production/alice\n")
	n.run("egress", "set", "router", "--tcp", "off").prints(t, "Set the egress rules of router\n")
	n.run("egress", "clear", "--namespace", "production", "alice").prints(t, "Removed the egress rules of production/alice\n")
	n.run("egress", "clear", "--namespace", "production").prints(t, "Removed the egress rules of namespace production\n")
	n.did(
		"PUT "+namespaces+`/production/egress {"allow":null,"deny":["x.example"],"ports":["80","443"],"tcp":null}`,
		"PUT "+namespaces+`/production/scripts/alice/egress {"allow":["*.example.com"],"deny":null,"ports":null,"tcp":true}`,
		`PUT /workers/scripts/router/egress {"allow":null,"deny":null,"ports":null,"tcp":false}`,
		"DELETE "+namespaces+"/production/scripts/alice/egress",
		"DELETE "+namespaces+"/production/egress",
	)
	n.run("egress", "get").fails(t, exitUsage, "atoll: error: neither a namespace nor a script is named\natoll: hint: give --namespace NAME, SCRIPT, or both\n")
	n.run("egress", "set", "router", "--tcp", "yes").fails(t, exitUsage, "atoll: error: --tcp yes\natoll: hint: it is on, off or default\n")
}

// TestStoredSecrets sees that a value goes from standard input to the API, and that a store and a secret are found by name.
func TestStoredSecrets(t *testing.T) {
	const stores, store = "/secrets_store/stores", `{"id":"0123456789abcdef0123456789abcdef","name":"keys"}`
	const secrets = stores + "/0123456789abcdef0123456789abcdef/secrets"
	const secret = `{"id":"s1","name":"old","scopes":["workers"]}`
	n := newNode(t, map[string]string{
		"GET " + stores: "[" + store + "]", "GET " + secrets: "[" + secret + "]", "POST " + secrets: `[{"id":"s2","name":"new"}]`, "PATCH " + secrets + "/s1": secret,
	})
	n.runIn("hush\n", "secrets-store", "secret", "put", "keys", "new", "--comment", "of mine").prints(t, "Store keys has secret new\n")
	n.did(`POST ` + secrets + ` [{"name":"new","value":"hush","comment":"of mine","scopes":["workers"]}]`)
	n.runIn("hush2", "secrets-store", "secret", "put", "keys", "old").prints(t, "Store keys has secret old\n")
	n.did(`PATCH ` + secrets + `/s1 {"value":"hush2"}`)
	n.runIn("\n", "secrets-store", "secret", "put", "keys", "old").fails(t, exitFailed, "atoll: error: the secret is empty\n"+
		"atoll: hint: its value is read from standard input: printf %s VALUE | atoll secrets-store secret put STORE SECRET\n")
	n.did()
}
