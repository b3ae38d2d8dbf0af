package store

import (
	"fmt"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

func TestNamespaces(t *testing.T) {
	db := open(t, t.TempDir())
	ctx := t.Context()
	_, err := db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	refused(t, err, fault.NotFound, 7003)
	ok(t, db.EnsureAccount(ctx, acct, "Acme"))
	ok(t, db.EnsureAccount(ctx, other, "Other"))

	made, err := db.CreateNamespace(ctx, acct, prod, true, atoll.NamespaceSettings{})
	ok(t, err)
	got, err := db.Namespace(ctx, acct, prod)
	ok(t, err)
	equal(t, got, made)
	if !got.Trusted || len(got.ID) != 36 || got.Created.IsZero() || got.Account != acct {
		t.Errorf("namespace %+v", got)
	}

	_, err = db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	refused(t, err, fault.Invalid, 100120)
	if !strings.Contains(fault.Of(err).Message, "already exists") { // setup.js of Cloudflare's template looks for it
		t.Error(err)
	}
	_, err = db.CreateNamespace(ctx, other, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	staging, err := db.CreateNamespace(ctx, acct, "a staging", false, atoll.NamespaceSettings{})
	ok(t, err)

	put(t, db, user("a"))
	put(t, db, user("b"))
	put(t, db, user("b"))
	put(t, db, platform("router"))
	made.Scripts = 2
	list, err := db.Namespaces(ctx, acct)
	ok(t, err)
	equal(t, list, []atoll.Namespace{staging, made})
}

func TestMissingNamespace(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	for _, name := range []atoll.NamespaceName{"missing", ""} { // the empty name holds the account's own scripts
		_, err := db.Namespace(ctx, acct, name)
		refused(t, err, fault.NotFound, 100119)
		_, err = db.UpdateNamespace(ctx, acct, name, NamespaceChange{})
		refused(t, err, fault.NotFound, 100119)
		refused(t, db.DeleteNamespace(ctx, acct, name), fault.NotFound, 100119)
	}
	_, _, err := db.Scripts(ctx, acct, "missing", ScriptFilter{})
	refused(t, err, fault.NotFound, 100119)
	_, _, err = db.Scripts(ctx, other, "", ScriptFilter{})
	refused(t, err, fault.NotFound, 7003)
}

func TestUpdateNamespace(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	_, err := db.CreateNamespace(ctx, acct, "taken", false, atoll.NamespaceSettings{})
	ok(t, err)
	put(t, db, user("a"), "x")
	taken, fresh, yes := atoll.NamespaceName("taken"), atoll.NamespaceName("fresh"), true
	_, err = db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Name: &taken, Trusted: &yes})
	refused(t, err, fault.Invalid, 100120)
	same := prod
	n, err := db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Name: &same})
	ok(t, err)
	if n.Trusted {
		t.Error("a refused change was kept in part")
	}
	n, err = db.UpdateNamespace(ctx, acct, prod, NamespaceChange{Name: &fresh, Trusted: &yes})
	ok(t, err)
	got, err := db.Namespace(ctx, acct, "fresh")
	ok(t, err)
	equal(t, got, n)
	if !n.Trusted || n.Scripts != 1 || n.Modified.Before(n.Created) {
		t.Errorf("namespace %+v", n)
	}
	_, err = db.Namespace(ctx, acct, prod)
	refused(t, err, fault.NotFound, 100119)
	list, _, err := db.Scripts(ctx, acct, "fresh", ScriptFilter{Tags: []TagTerm{{"x", true}}})
	ok(t, err)
	if len(list) != 1 || list[0].Ref.Namespace != "fresh" {
		t.Errorf("scripts did not move with the name: %v", list)
	}
}

func TestDeleteNamespace(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	put(t, db, platform("a"))
	for i := range 5 {
		put(t, db, user(fmt.Sprint("s", i)), "x")
	}
	ok(t, db.DeleteNamespace(ctx, acct, prod))
	refused(t, db.DeleteNamespace(ctx, acct, prod), fault.NotFound, 100119)
	_, err := db.Script(ctx, user("s1"))
	refused(t, err, fault.NotFound, 100119)
	_, err = db.Script(ctx, platform("a"))
	ok(t, err)
	rows(t, db, map[string]int{"scripts": 1, "versions": 1, "version_blobs": 1, "script_tags": 0, "deployments": 1, "orphans": 5,
		"namespaces": 1})
	_, err = db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
}

func TestDeletionOfNamespaceIsFinishedAtOpen(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, acct, "Acme"))
	_, err := db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	put(t, db, user("a"))
	_, err = db.SetSchedules(ctx, user("a"), []string{"* * * * *"})
	ok(t, err)
	// what DeleteNamespace does before the first chunk
	err = execute(ctx, db, "UPDATE namespaces SET account = NULL WHERE name = 'production'")
	ok(t, err)
	if all, err := db.AllSchedules(ctx); len(all) > 0 || err != nil {
		t.Errorf("schedules of a namespace that is gone: %v, %v", all, err)
	}
	_, err = db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	ok(t, db.Close())
	db = open(t, dir)
	rows(t, db, map[string]int{"scripts": 0, "namespaces": 2})
}

// rows checks how many rows tables have.
func rows(t *testing.T, db *DB, want map[string]int) {
	t.Helper()
	for table, n := range want {
		got, err := sqlite.One(t.Context(), db.reads, sqlite.Value[int], "SELECT count(*) FROM "+table)
		ok(t, err)
		if got != n {
			t.Errorf("%s has %d rows, want %d", table, got, n)
		}
	}
}
