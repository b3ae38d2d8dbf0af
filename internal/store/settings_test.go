package store

import (
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestNamespaceSettings(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, user("a"), "x")
	put(t, db, platform("router"))
	if s := mustScript(t, db, user("a")).Settings; s != (atoll.NamespaceSettings{}) {
		t.Errorf("settings of a new namespace: %+v", s)
	}
	want := atoll.NamespaceSettings{CPUMs: 50, SubRequests: 7, MemoryMB: 64, Jitless: true}
	changed, err := db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Settings: func(s *atoll.NamespaceSettings) { *s = want }})
	ok(t, err)
	equal(t, changed.Settings, want)
	read, err := db.Namespace(ctx, acct, prod)
	ok(t, err)
	equal(t, read, changed)
	equal(t, mustScript(t, db, user("a")).Settings, want)
	equal(t, mustScript(t, db, platform("router")).Settings, atoll.NamespaceSettings{})
	list, _, err := db.Scripts(ctx, acct, prod, ScriptFilter{Tags: []TagTerm{{"x", true}}})
	ok(t, err)
	equal(t, list[0].Settings, want)

	// a change of one leaves the others, and one of something else leaves all
	yes := true
	_, err = db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Trusted: &yes, Settings: func(s *atoll.NamespaceSettings) { s.CPUMs = 0 }})
	ok(t, err)
	name := atoll.NamespaceName("renamed")
	_, err = db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Name: &name})
	ok(t, err)
	read, err = db.Namespace(ctx, acct, name)
	ok(t, err)
	equal(t, read.Settings, atoll.NamespaceSettings{SubRequests: 7, MemoryMB: 64, Jitless: true})

	made, err := db.CreateNamespace(ctx, acct, "made", false, want)
	ok(t, err)
	read, err = db.Namespace(ctx, acct, "made")
	ok(t, err)
	equal(t, read, made)
}

func TestNamespaceSettingsOutOfBounds(t *testing.T) {
	db := filled(t)
	for field, s := range map[string]atoll.NamespaceSettings{
		"limits.cpu_ms":      {CPUMs: atoll.MaxCPUMs + 1},
		"limits.subrequests": {SubRequests: -1},
		"limits.memory_mb":   {MemoryMB: atoll.MinMemoryMB - 1},
	} {
		_, err := db.UpdateNamespace(t.Context(), acct, prod, NamespaceChange{Settings: func(have *atoll.NamespaceSettings) { *have = s }})
		refused(t, err, fault.Invalid, 10021)
		if f := fault.Of(err); f == nil || !strings.HasPrefix(f.Message, field+" must be ") {
			t.Errorf("%+v: %v", s, err)
		}
		_, err = db.CreateNamespace(t.Context(), acct, "new", false, s)
		refused(t, err, fault.Invalid, 10021)
	}
	n, err := db.Namespace(t.Context(), acct, prod)
	ok(t, err)
	equal(t, n.Settings, atoll.NamespaceSettings{})
}
