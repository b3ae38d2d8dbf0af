package store

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

func text(s string) *string { return &s }

func TestSecretStores(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	const other = atoll.AccountID("ffffffffffffffffffffffffffffffff")
	ok(t, db.EnsureAccount(ctx, other, "Other"))
	s, err := db.CreateSecretStore(ctx, acct, "main")
	ok(t, err)
	_, err = db.CreateSecretStore(ctx, acct, "main")
	refused(t, err, fault.Conflict, 1003)
	for _, name := range []string{"", "a b", "a\nb", strings.Repeat("x", 256), "\xff"} {
		_, err = db.CreateSecretStore(ctx, acct, name)
		refused(t, err, fault.Invalid, 1002)
	}
	workers := []string{WorkersScope}
	list, err := db.CreateStoredSecrets(ctx, acct, s.ID, []SecretChange{
		{Name: "b", Value: text("value of b"), Scopes: workers, Comment: text("the second")}, {Name: "a", Value: text("value of a"), Scopes: workers}})
	ok(t, err)
	if len(list) != 2 || list[0].Name != "b" || list[0].Comment != "the second" || list[1].Store != s.ID || len(list[1].ID) != 32 || list[1].Created.IsZero() {
		t.Errorf("made %+v", list)
	}
	b, a := list[0].ID, list[1].ID
	// All or none.
	_, err = db.CreateStoredSecrets(ctx, acct, s.ID, []SecretChange{{Name: "c", Value: text("x"), Scopes: workers}, {Name: "a", Value: text("x"), Scopes: workers}})
	refused(t, err, fault.Conflict, 1003)
	if list, err = db.StoredSecrets(ctx, acct, s.ID); err != nil || len(list) != 2 || list[0].Name != "a" {
		t.Errorf("list %+v, %v", list, err)
	}
	for name, c := range map[string]SecretChange{
		"no value": {Name: "x", Scopes: workers}, "no scopes": {Name: "x", Value: text("x")}, "no name": {Value: text("x"), Scopes: workers},
		"a large value": {Name: "x", Value: text(strings.Repeat("x", maxStoredValue+1)), Scopes: workers}, "an empty value": {Name: "x", Value: text(""), Scopes: workers},
		"an unknown scope": {Name: "x", Value: text("x"), Scopes: []string{"dns"}}, "a large comment": {Name: "x", Value: text("x"), Scopes: workers, Comment: text(strings.Repeat("x", maxStoredComment+1))},
	} {
		if _, err := db.CreateStoredSecrets(ctx, acct, s.ID, []SecretChange{c}); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v, err := db.StoredSecretValue(ctx, acct, s.ID, "a"); v != "value of a" || err != nil {
		t.Errorf("a is %q, %v", v, err)
	}
	// Nothing of it is another account's.
	for what, err := range map[string]error{
		"list": second(db.StoredSecrets(ctx, other, s.ID)), "get": second(db.StoredSecret(ctx, other, s.ID, a)), "value": second(db.StoredSecretValue(ctx, other, s.ID, "a")),
		"create": second(db.CreateStoredSecrets(ctx, other, s.ID, []SecretChange{{Name: "x", Value: text("x"), Scopes: workers}})),
		"update": second(db.UpdateStoredSecret(ctx, other, s.ID, a, SecretChange{Value: text("x")})), "delete": second(db.DeleteStoredSecrets(ctx, other, s.ID, []string{a})),
		"duplicate": second(db.DuplicateStoredSecret(ctx, other, s.ID, a, SecretChange{Name: "x", Scopes: workers})), "delete store": second(db.DeleteSecretStore(ctx, other, s.ID, false)),
	} {
		if fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s by another account: %v", what, err)
		}
	}
	if found, err := db.StoredSecretExists(ctx, other, s.ID, "a"); found || err != nil {
		t.Errorf("another account has it: %v %v", found, err)
	}

	u, err := db.UpdateStoredSecret(ctx, acct, s.ID, a, SecretChange{Value: text("new"), Comment: text("c")})
	ok(t, err)
	if v, _ := db.StoredSecretValue(ctx, acct, s.ID, "a"); v != "new" || u.Comment != "c" || u.Scopes[0] != WorkersScope {
		t.Errorf("after an update: %q, %+v", v, u)
	}
	_, err = db.UpdateStoredSecret(ctx, acct, s.ID, a, SecretChange{Scopes: []string{"ai_gateway"}})
	ok(t, err)
	if found, _ := db.StoredSecretExists(ctx, acct, s.ID, "a"); found {
		t.Error("Workers are offered a secret that is not for them")
	}
	_, err = db.StoredSecretValue(ctx, acct, s.ID, "a")
	refused(t, err, fault.NotFound, 1001)
	d, err := db.DuplicateStoredSecret(ctx, acct, s.ID, a, SecretChange{Name: "copy", Scopes: workers})
	ok(t, err)
	if v, _ := db.StoredSecretValue(ctx, acct, s.ID, "copy"); v != "new" {
		t.Errorf("the copy is %q", v)
	}
	_, err = db.DeleteSecretStore(ctx, acct, s.ID, false)
	refused(t, err, fault.Conflict, 1003)
	_, err = db.DeleteStoredSecrets(ctx, acct, s.ID, []string{a, "nope"})
	refused(t, err, fault.NotFound, 1001)
	_, err = db.DeleteStoredSecrets(ctx, acct, s.ID, []string{a, b, d.ID})
	ok(t, err)
	_, err = db.DeleteSecretStore(ctx, acct, s.ID, false)
	ok(t, err)
}

func second[T any](_ T, err error) error { return err }

// Values are sealed, and each to its place.
func TestStoredSecretsAreSealed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	ctx := t.Context()
	ok(t, db.EnsureAccount(ctx, acct, "Acme"))
	s, err := db.CreateSecretStore(ctx, acct, "main")
	ok(t, err)
	_, err = db.CreateStoredSecrets(ctx, acct, s.ID, []SecretChange{
		{Name: "a", Value: text("sesame-1234567"), Scopes: []string{WorkersScope}}, {Name: "b", Value: text("x"), Scopes: []string{WorkersScope}}})
	ok(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "atoll.db*"))
	ok(t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		ok(t, err)
		if bytes.Contains(b, []byte("sesame")) {
			t.Errorf("%s has the value in clear", f)
		}
	}
	ok(t, db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		_, err := sqlite.Run(ctx, tx, "UPDATE stored_secrets SET sealed = (SELECT sealed FROM stored_secrets WHERE name = 'a') WHERE name = 'b'")
		return err
	}))
	if v, err := db.StoredSecretValue(ctx, acct, s.ID, "b"); err == nil {
		t.Errorf("moved to another place, the secret opens: %q", v)
	}
}
