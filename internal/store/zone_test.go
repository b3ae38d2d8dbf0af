package store

import (
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestZones(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, other, "Other"))
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	if len(z.ID) != 32 || z.Created.IsZero() {
		t.Errorf("zone %+v", z)
	}
	again, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	equal(t, again, z)
	_, err = db.EnsureZone(ctx, other, "example.com")
	refused(t, err, fault.Conflict, 1061)
	_, err = db.EnsureZone(ctx, "00000000000000000000000000000000", "example.net")
	refused(t, err, fault.NotFound, 7003)
	a, err := db.EnsureZone(ctx, acct, "a.example")
	ok(t, err)
	b, err := db.EnsureZone(ctx, other, "b.example")
	ok(t, err)

	list, err := db.Zones(ctx, acct)
	ok(t, err)
	equal(t, list, []Zone{a, z})
	list, err = db.Zones(ctx, "")
	ok(t, err)
	equal(t, list, []Zone{a, b, z})
	got, err := db.Zone(ctx, z.ID)
	ok(t, err)
	equal(t, got, z)
	got, err = db.ZoneByName(ctx, acct, "example.com")
	ok(t, err)
	equal(t, got, z)
	_, err = db.Zone(ctx, "missing")
	refused(t, err, fault.NotFound, 7003)
	_, err = db.ZoneByName(ctx, other, "example.com")
	refused(t, err, fault.NotFound, 7003)
}

func TestRoutes(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, platform("router"))
	put(t, db, user("customer"))
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	z2, err := db.EnsureZone(ctx, acct, "example.net")
	ok(t, err)

	r, err := db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*", Script: "router"})
	ok(t, err)
	if len(r.ID) != 32 || r.Account != acct {
		t.Errorf("route %+v", r)
	}
	bypass, err := db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/assets/*"})
	ok(t, err)
	got, err := db.Route(ctx, z.ID, r.ID)
	ok(t, err)
	equal(t, got, r)

	_, err = db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*"})
	refused(t, err, fault.Conflict, 10020)
	_, err = db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "x/*", Script: "customer"}) // a user Worker has no routes
	refused(t, err, fault.NotFound, 10007)
	_, err = db.PutRoute(ctx, Route{Zone: "missing", Pattern: "x/*"})
	refused(t, err, fault.NotFound, 7003)
	_, err = db.PutRoute(ctx, Route{ID: "missing", Zone: z.ID, Pattern: "x/*"})
	refused(t, err, fault.NotFound, 10009)
	_, err = db.PutRoute(ctx, Route{ID: r.ID, Zone: z2.ID, Pattern: "x/*"})
	refused(t, err, fault.NotFound, 10009)
	_, err = db.PutRoute(ctx, Route{ID: bypass.ID, Zone: z.ID, Pattern: "*/*"})
	refused(t, err, fault.Conflict, 10020)

	bypass.Script, bypass.Pattern = "router", "*/api/*"
	got, err = db.PutRoute(ctx, bypass)
	ok(t, err)
	equal(t, got, bypass)
	r2, err := db.PutRoute(ctx, Route{Zone: z2.ID, Pattern: "*/*"}) // the same pattern in another zone
	ok(t, err)

	list, err := db.Routes(ctx, z.ID)
	ok(t, err)
	equal(t, list, []Route{r, bypass})
	_, err = db.Routes(ctx, "missing")
	refused(t, err, fault.NotFound, 7003)
	list, err = db.AllRoutes(ctx)
	ok(t, err)
	if len(list) != 3 {
		t.Errorf("all routes: %+v", list)
	}

	refused(t, db.DeleteRoute(ctx, z.ID, r2.ID), fault.NotFound, 10009)
	ok(t, db.DeleteRoute(ctx, z2.ID, r2.ID))
	refused(t, db.DeleteRoute(ctx, z2.ID, r2.ID), fault.NotFound, 10009)
	_, err = db.Route(ctx, z2.ID, r2.ID)
	refused(t, err, fault.NotFound, 10009)
}

func TestRouters(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	put(t, db, user("customer"))
	put(t, db, platform("dispatcher"))
	ns := user("customer").Namespace
	router := &atoll.Router{Kind: atoll.BySubdomain, Namespace: ns, KV: "k", Limits: atoll.Limits{CPUMs: 10},
		Plans: map[string]atoll.Limits{"pro": {SubRequests: 5}}, Outbound: &atoll.RouterOutbound{Service: "dispatcher", Parameters: []string{"p"}}}
	r, err := db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "*/*", Router: router})
	ok(t, err)
	got, err := db.Route(ctx, z.ID, r.ID)
	ok(t, err)
	equal(t, got, r)
	for _, missing := range []atoll.NamespaceName{"nowhere", ""} {
		_, err = db.PutRoute(ctx, Route{Zone: z.ID, Pattern: "x/*", Router: &atoll.Router{Kind: atoll.ByPath, Namespace: missing}})
		refused(t, err, fault.NotFound, 100119)
	}

	name := atoll.NamespaceName("renamed")
	_, err = db.UpdateNamespace(ctx, acct, ns, NamespaceChange{Name: &name})
	ok(t, err)
	list, err := db.AllRoutes(ctx)
	ok(t, err)
	if len(list) != 1 || list[0].Router.Namespace != "renamed" {
		t.Errorf("after the namespace was renamed: %+v", list)
	}
	toScript := list[0]
	toScript.Router, toScript.Script = nil, "dispatcher"
	got, err = db.PutRoute(ctx, toScript)
	ok(t, err)
	equal(t, got, toScript)
	toRouter := list[0]
	_, err = db.PutRoute(ctx, toRouter)
	ok(t, err)
	ok(t, db.DeleteNamespace(ctx, acct, "renamed"))
	list, err = db.AllRoutes(ctx)
	ok(t, err)
	if len(list) != 0 {
		t.Errorf("after the namespace was deleted: %+v", list)
	}
}

func TestReplaceScriptRoutes(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, other, "Other"))
	put(t, db, platform("router"))
	put(t, db, platform("site"))
	z, err := db.EnsureZone(ctx, acct, "example.com")
	ok(t, err)
	foreign, err := db.EnsureZone(ctx, other, "other.example")
	ok(t, err)

	first, err := db.ReplaceScriptRoutes(ctx, acct, "router", []RouteSpec{{z.ID, "*/*"}, {z.ID, "a/*"}, {z.ID, "a/*"}})
	ok(t, err)
	if len(first) != 2 || first[0].Pattern != "*/*" || first[0].Script != "router" {
		t.Errorf("routes %+v", first)
	}
	_, err = db.ReplaceScriptRoutes(ctx, acct, "site", []RouteSpec{{z.ID, "c/*"}, {z.ID, "a/*"}})
	refused(t, err, fault.Conflict, 10020)
	_, err = db.ReplaceScriptRoutes(ctx, acct, "site", []RouteSpec{{foreign.ID, "c/*"}})
	refused(t, err, fault.NotFound, 7003)
	_, err = db.ReplaceScriptRoutes(ctx, acct, "site", []RouteSpec{{"missing", "c/*"}})
	refused(t, err, fault.NotFound, 7003)
	_, err = db.ReplaceScriptRoutes(ctx, acct, "missing", nil)
	refused(t, err, fault.NotFound, 10007)
	_, err = db.ScriptRoutes(ctx, acct, "missing")
	refused(t, err, fault.NotFound, 10007)

	second, err := db.ReplaceScriptRoutes(ctx, acct, "router", []RouteSpec{{z.ID, "b/*"}, {z.ID, "*/*"}})
	ok(t, err)
	if len(second) != 2 || second[0] != first[0] || second[1].Pattern != "b/*" {
		t.Errorf("routes %+v", second)
	}
	list, err := db.ScriptRoutes(ctx, acct, "router")
	ok(t, err)
	equal(t, list, second)
	list, err = db.ReplaceScriptRoutes(ctx, acct, "router", nil)
	ok(t, err)
	equal(t, len(list), 0)
	rows(t, db, map[string]int{"routes": 0})
}
