package store

import (
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
)

func TestEgressRules(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	ns := atoll.ScriptRef{Account: acct, Namespace: prod}
	later := user("not-uploaded-yet")
	rules := func(ref atoll.ScriptRef) (*atoll.EgressRules, *atoll.EgressRules) {
		t.Helper()
		a, b, err := db.EgressRules(ctx, ref)
		ok(t, err)
		return a, b
	}
	if a, b := rules(later); a != nil || b != nil {
		t.Errorf("at first: %v, %v", a, b)
	}
	yes := true
	ofNamespace, err := db.SetEgressRules(ctx, ns, atoll.EgressRules{Allow: []string{"*.example.com"}, Ports: []string{"443"}, TCP: &yes})
	ok(t, err)
	ofScript, err := db.SetEgressRules(ctx, later, atoll.EgressRules{Deny: []string{"10.0.0.0/8"}})
	ok(t, err)
	ofRouter, err := db.SetEgressRules(ctx, platform("router"), atoll.EgressRules{Deny: []string{"*"}})
	ok(t, err)
	a, b := rules(later)
	equal(t, *a, ofNamespace)
	equal(t, *b, ofScript)
	a, b = rules(platform("router"))
	equal(t, *b, ofRouter)
	if a != nil {
		t.Errorf("an account has rules: %v", a)
	}
	names, err := db.EgressScripts(ctx, acct, prod, 10)
	ok(t, err)
	equal(t, names, []atoll.ScriptName{later.Name})

	// Uploading and deleting the script changes nothing.
	put(t, db, later)
	ok(t, db.DeleteScript(ctx, later))
	if _, b := rules(later); b == nil {
		t.Error("the rules went with the script")
	}
	ofScript, err = db.SetEgressRules(ctx, later, atoll.EgressRules{})
	ok(t, err)
	_, b = rules(later)
	equal(t, *b, ofScript)
	for range 2 {
		ok(t, db.DeleteEgressRules(ctx, later))
	}
	if a, b := rules(later); a == nil || b != nil {
		t.Errorf("at last: %v, %v", a, b)
	}

	gone := atoll.ScriptRef{Account: acct, Namespace: "missing", Name: "x"}
	_, _, err = db.EgressRules(ctx, gone)
	refused(t, err, fault.NotFound, 100119)
	_, err = db.SetEgressRules(ctx, gone, atoll.EgressRules{})
	refused(t, err, fault.NotFound, 100119)
	refused(t, db.DeleteEgressRules(ctx, gone), fault.NotFound, 100119)
	_, err = db.EgressScripts(ctx, acct, "missing", 1)
	refused(t, err, fault.NotFound, 100119)
	ok(t, db.DeleteNamespace(ctx, acct, prod))
	_, err = db.CreateNamespace(ctx, acct, prod, false, atoll.NamespaceSettings{})
	ok(t, err)
	if a, _ := rules(later); a != nil {
		t.Error("the rules outlived their namespace")
	}
}
