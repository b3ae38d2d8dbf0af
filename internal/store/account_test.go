package store

import (
	"testing"

	"atoll.dev/atoll/internal/fault"
)

func TestAccounts(t *testing.T) {
	db := open(t, t.TempDir())
	ctx := t.Context()
	_, err := db.Account(ctx, acct)
	refused(t, err, fault.NotFound, 7003)
	for _, name := range []string{"Acme", "", "Acme"} {
		ok(t, db.EnsureAccount(ctx, acct, name))
	}
	ok(t, db.EnsureAccount(ctx, other, "Other"))
	ok(t, db.EnsureAccount(ctx, other, "Another"))
	a, err := db.Account(ctx, acct)
	ok(t, err)
	if a.ID != acct || a.Name != "Acme" || a.Created.IsZero() {
		t.Errorf("account %+v", a)
	}
	list, err := db.Accounts(ctx)
	ok(t, err)
	if len(list) != 2 || list[0] != a || list[1].Name != "Another" {
		t.Errorf("accounts %+v", list)
	}
}

func TestSubdomain(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, other, "Other"))
	_, err := db.Subdomain(ctx, acct)
	refused(t, err, fault.NotFound, 10007)
	_, err = db.Subdomain(ctx, "00000000000000000000000000000000")
	refused(t, err, fault.NotFound, 10007)
	ok(t, db.SetSubdomain(ctx, acct, "acme"))
	ok(t, db.SetSubdomain(ctx, acct, "acme"))
	name, err := db.Subdomain(ctx, acct)
	ok(t, err)
	equal(t, name, "acme")
	refused(t, db.SetSubdomain(ctx, other, "acme"), fault.Conflict, 10031)
	refused(t, db.SetSubdomain(ctx, "00000000000000000000000000000000", "x"), fault.NotFound, 7003)
	ok(t, db.SetSubdomain(ctx, acct, ""))
	ok(t, db.SetSubdomain(ctx, other, ""))
	_, err = db.Subdomain(ctx, acct)
	refused(t, err, fault.NotFound, 10007)
	ok(t, db.SetSubdomain(ctx, other, "acme"))
}
