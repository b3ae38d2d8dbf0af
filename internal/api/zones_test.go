package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/store"
	"atoll.dev/atoll/internal/wire"

	"github.com/google/go-cmp/cmp"
)

// putScripts stores account scripts without code.
func (n *node) putScripts(names ...atoll.ScriptName) {
	n.t.Helper()
	for _, name := range names {
		ref := atoll.ScriptRef{Account: theAccount, Name: name}
		if _, err := n.db.PutVersion(context.Background(), ref, &atoll.Version{}, store.ScriptChange{Deploy: true, Source: "api"}); err != nil {
			n.t.Fatal(err)
		}
	}
}

func TestZones(t *testing.T) {
	n := newNode(t)
	var zones []wire.Zone
	n.ok(&zones, "GET", "/zones?name=atoll.localhost&account.id="+theAccount, "")
	if len(zones) != 1 || zones[0].Name != "atoll.localhost" || zones[0].Status != "active" || zones[0].Account.ID != theAccount {
		t.Fatalf("zones = %+v", zones)
	}
	var none []wire.Zone
	n.ok(&none, "GET", "/zones?name=other.test", "")
	n.ok(&none, "GET", "/zones?account.id=ffffffffffffffffffffffffffffffff", "")
	if len(none) != 0 {
		t.Errorf("other zones = %+v", none)
	}
	var one, again wire.Zone
	n.ok(&one, "GET", "/zones/"+zones[0].ID, "")
	if one.ID != zones[0].ID {
		t.Errorf("zone = %+v", one)
	}
	n.fails(404, 7003, "GET", "/zones/nope", "")
	n.ok(&one, "POST", "/zones", `{"name":"SaaS.test","account":{"id":"`+theAccount+`"}}`)
	n.ok(&again, "POST", "/zones", `{"name":"saas.test"}`)
	if one.Name != "saas.test" || one.ID != again.ID {
		t.Errorf("zones %+v and %+v", one, again)
	}
	n.fails(400, 1001, "POST", "/zones", `{"name":"a b"}`)
	n.fails(400, 1001, "POST", "/zones", `{}`)
	n.fails(403, 9109, "POST", "/zones", `{"name":"x.test","account":{"id":"ffffffffffffffffffffffffffffffff"}}`)
}

func TestRoutes(t *testing.T) {
	n := newNode(t)
	n.putScripts("dispatcher", "other")
	var zone wire.Zone
	n.ok(&zone, "POST", "/zones", `{"name":"saas.test"}`)
	routes := "/zones/" + zone.ID + "/workers/routes"

	var r, again wire.Route
	n.ok(&r, "POST", routes, `{"pattern":"*/*","script":"dispatcher"}`)
	n.ok(&again, "POST", routes, `{"pattern":"*/*","script":"dispatcher"}`)
	if r.ID == "" || r.Pattern != "*/*" || r.Script != "dispatcher" || again.ID != r.ID {
		t.Errorf("route %+v, repeated %+v", r, again)
	}
	if !slices.Contains(n.changed, "routes") {
		t.Error("nobody was told of the new route")
	}
	n.fails(409, 10020, "POST", routes, `{"pattern":"*/*","script":"other"}`)
	n.fails(404, 10007, "POST", routes, `{"pattern":"x.saas.test/*","script":"nope"}`)
	again = wire.Route{}
	n.ok(&again, "POST", routes, `{"pattern":"static.saas.test/*"}`)
	if again.Script != "" {
		t.Errorf("route without a script = %+v", again)
	}
	n.ok(&again, "PUT", routes+"/"+again.ID, `{"pattern":"static.saas.test/img/*","script":"other"}`)
	if again.Pattern != "static.saas.test/img/*" || again.Script != "other" {
		t.Errorf("changed route = %+v", again)
	}
	n.ok(&r, "GET", routes+"/"+again.ID, "")
	if r != again {
		t.Errorf("route %+v, want %+v", r, again)
	}
	var list []wire.Route
	n.ok(&list, "GET", routes, "")
	if len(list) != 2 {
		t.Errorf("routes = %+v", list)
	}
	n.ok(nil, "DELETE", routes+"/"+again.ID, "")
	n.fails(404, 10009, "DELETE", routes+"/"+again.ID, "")
	n.fails(404, 10009, "GET", routes+"/"+again.ID, "")
	n.fails(404, 10009, "PUT", routes+"/"+again.ID, `{"pattern":"*/*"}`)
	n.fails(404, 7003, "GET", "/zones/nope/workers/routes", "")

	for _, pattern := range []string{"", "ftp://saas.test/*", "other.test/*", "saas.test/*/x", "a*.saas.test/*", "saas.test/x?y", "*.test/*", "evilsaas.test/*", "**/*"} {
		n.fails(400, 10022, "POST", routes, `{"pattern":"`+pattern+`","script":"dispatcher"}`)
	}
	for _, pattern := range []string{"saas.test", "saas.test/", "saas.test/exact", "https://saas.test/*", "*.saas.test/*", "*saas.test/*", "a.b.saas.test/x*"} {
		if err := checkPattern(pattern, "saas.test"); err != nil {
			t.Errorf("pattern %q: %v", pattern, err)
		}
	}
}

func TestRouters(t *testing.T) {
	n := newNode(t)
	n.putScripts("outbound")
	n.ok(nil, "POST", "ACCT/workers/dispatch/namespaces", `{"name":"production"}`)
	var zone wire.Zone
	n.ok(&zone, "POST", "/zones", `{"name":"saas.test"}`)
	var table wire.KVNamespace
	n.ok(&table, "POST", "ACCT/storage/kv/namespaces", `{"title":"customers"}`)
	routes := "/zones/" + zone.ID + "/workers/routes"
	body := func(pattern, router string) string {
		return `{"pattern":"` + pattern + `","router":` + strings.ReplaceAll(router, "TABLE", table.ID) + `}`
	}

	full := body("*.saas.test/*", `{"kind":"subdomain","namespace":"production","kv_namespace_id":"TABLE","limits":{"cpu_ms":10},
		"plans":{"pro":{"cpu_ms":50,"subrequests":20}},"outbound":{"service":"outbound","parameters":["customer"]}}`)
	var r, again, got wire.Route
	n.ok(&r, "POST", routes, full)
	n.ok(&again, "POST", routes, full)
	n.ok(&got, "GET", routes+"/"+r.ID, "")
	want := &wire.Router{Kind: "subdomain", Namespace: "production", KVNamespaceID: table.ID, Limits: wire.RouterLimits{CPUMs: 10},
		Plans:    map[string]wire.RouterLimits{"pro": {CPUMs: 50, SubRequests: 20}},
		Outbound: &wire.RouterOutbound{Service: "outbound", Parameters: []string{"customer"}}}
	if again.ID != r.ID || r.Script != "" {
		t.Errorf("%+v, repeated %+v", r, again)
	}
	if diff := cmp.Diff(want, got.Router); diff != "" {
		t.Error(diff)
	}
	n.fails(409, 10020, "POST", routes, body("*.saas.test/*", `{"kind":"subdomain","namespace":"production"}`))
	n.ok(nil, "POST", routes, body("saas.test/*", `{"kind":"path","namespace":"production"}`))
	var changed wire.Route
	n.ok(&changed, "PUT", routes+"/"+r.ID, `{"pattern":"*.saas.test/*","script":"outbound"}`)
	if changed.Router != nil || changed.Script != "outbound" {
		t.Errorf("changed to %+v", changed)
	}

	for router, code := range map[string]int{
		`{"kind":"magic","namespace":"production"}`:                                                                 10022,
		`{"kind":"kv","namespace":"production"}`:                                                                    10022,
		`{"kind":"kv","namespace":"production","kv_namespace_id":"0123456789abcdef0123456789abcdef"}`:               10022,
		`{"kind":"kv","namespace":"production","kv_namespace_id":"../x"}`:                                           10022,
		`{"kind":"path","namespace":"production","limits":{"cpu_ms":-1}}`:                                           10022,
		`{"kind":"path","namespace":"production","limits":{"cpu_ms":300001}}`:                                       10022,
		`{"kind":"path","namespace":"production","plans":{"a":{"cpu_ms":1}}}`:                                       10022,
		`{"kind":"path","namespace":"production","kv_namespace_id":"TABLE","plans":{"":{"cpu_ms":1}}}`:              10022,
		`{"kind":"path","namespace":"production","kv_namespace_id":"TABLE","plans":{"a":{"subrequests":10000001}}}`: 10022,
		`{"kind":"path","namespace":"production","outbound":{"service":"nope"}}`:                                    10022,
		`{"kind":"path","namespace":"production","outbound":{"service":"outbound","parameters":[""]}}`:              10022,
		`{"kind":"path","namespace":"production","plan":{"a":{"cpu_ms":1}}}`:                                        10026,
		`{"kind":"path","namespace":"production","limits":{"cpuMs":1}}`:                                             10026,
		`{"kind":"subdomain","namespace":"production","limits":"none"}`:                                             10026,
	} {
		n.fails(400, code, "POST", routes, body("*.x.saas.test/*", router))
	}
	n.fails(400, 10022, "POST", routes, body("x.saas.test/*", `{"kind":"subdomain","namespace":"production"}`))
	n.fails(404, 100119, "POST", routes, body("*.x.saas.test/*", `{"kind":"subdomain","namespace":"nope"}`))
	n.fails(400, 10022, "POST", routes, `{"pattern":"x.saas.test/*","script":"outbound","router":{"kind":"path","namespace":"production"}}`)
}

func TestScriptRoutes(t *testing.T) {
	n := newNode(t)
	n.putScripts("dispatcher")
	const routes = "ACCT/workers/scripts/dispatcher/routes"
	var list []wire.Route
	n.ok(&list, "PUT", routes, `[{"pattern":"*/*","zone_name":"atoll.localhost"},{"pattern":"*.atoll.localhost/*"}]`)
	if len(list) != 2 {
		t.Errorf("routes = %+v", list)
	}
	n.ok(&list, "PUT", routes, `[{"pattern":"*/*"}]`)
	n.ok(&list, "GET", routes, "")
	if len(list) != 1 || list[0].Pattern != "*/*" || list[0].Script != "dispatcher" {
		t.Errorf("routes = %+v", list)
	}
	n.fails(400, 10022, "PUT", routes, `[{"pattern":"*/*","zone_name":"nope.test"}]`)
	n.fails(400, 10022, "PUT", routes, `[{"pattern":"nope.test/*"}]`)
	n.fails(400, 10026, "PUT", routes, `{}`)
	n.fails(404, 10007, "PUT", "ACCT/workers/scripts/nope/routes", `[{"pattern":"*/*"}]`)
	n.fails(404, 10007, "GET", "ACCT/workers/scripts/nope/routes", "")
}

func TestSubdomain(t *testing.T) {
	n := newNode(t)
	n.putScripts("x")
	var sub wire.Subdomain
	n.ok(&sub, "GET", "ACCT/workers/subdomain", "")
	if sub.Subdomain != "atoll" {
		t.Errorf("subdomain = %+v", sub)
	}
	n.ok(&sub, "PUT", "ACCT/workers/subdomain", `{"subdomain":"mine"}`)
	n.ok(&sub, "GET", "ACCT/workers/subdomain", "")
	if sub.Subdomain != "mine" {
		t.Errorf("subdomain = %+v", sub)
	}
	n.fails(400, 10032, "PUT", "ACCT/workers/subdomain", `{"subdomain":"a.b"}`)
	n.ok(nil, "DELETE", "ACCT/workers/subdomain", "")

	var script wire.ScriptSubdomain
	n.ok(&script, "POST", "ACCT/workers/scripts/x/subdomain", `{"enabled":true,"previews_enabled":true}`)
	n.ok(&script, "POST", "ACCT/workers/scripts/x/subdomain", `{"enabled":false}`)
	n.ok(&script, "GET", "ACCT/workers/scripts/x/subdomain", "")
	if script.Enabled || !script.PreviewsEnabled {
		t.Errorf("script's subdomain = %+v", script)
	}
	n.ok(&script, "DELETE", "ACCT/workers/scripts/x/subdomain", "")
	if script.PreviewsEnabled {
		t.Errorf("script's subdomain = %+v", script)
	}
	n.fails(400, 10026, "POST", "ACCT/workers/scripts/x/subdomain", `{}`)
	for _, method := range []string{"GET", "POST", "DELETE"} {
		n.fails(404, 10007, method, "ACCT/workers/scripts/nope/subdomain", `{"enabled":true}`)
	}
}

func TestSchedules(t *testing.T) {
	n := newNode(t)
	n.putScripts("x")
	const path = "ACCT/workers/scripts/x/schedules"
	var got wire.Schedules
	n.ok(&got, "GET", path, "")
	if got.Schedules == nil || len(got.Schedules) != 0 {
		t.Errorf("schedules = %+v", got)
	}
	n.ok(&got, "PUT", path, `[{"cron":"* * * * *"},{"cron":"0 17 * * sun"}]`)
	n.ok(&got, "GET", path, "")
	if len(got.Schedules) != 2 || got.Schedules[1].Cron != "0 17 * * sun" || got.Schedules[1].CreatedOn.IsZero() {
		t.Errorf("schedules = %+v", got)
	}
	if !slices.Contains(n.changed, "schedules") {
		t.Error("nobody was told of the new schedules")
	}
	for _, bad := range []string{"", "@hourly", "* * * *", "* * * * * *", "61 * * * *", "TZ=UTC * * * * *"} {
		n.fails(400, 10026, "PUT", path, `[{"cron":"`+bad+`"}]`)
	}
	n.fails(404, 10007, "GET", "ACCT/workers/scripts/nope/schedules", "")
	n.fails(404, 10007, "PUT", "ACCT/workers/scripts/nope/schedules", "[]")
}
