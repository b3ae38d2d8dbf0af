package store

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
	"time"

	"atoll.dev/atoll/internal/fault"
)

func TestTokens(t *testing.T) {
	db := filled(t)
	ctx := t.Context()
	tok := Token{ID: "11111111111111111111111111111111", Name: "ci", Account: acct, Hash: sha256.Sum256([]byte("one")),
		Scope: json.RawMessage(`["read"]`), Created: now(), Expires: now().Add(time.Hour)}
	_, err := db.TokenByHash(ctx, tok.Hash)
	refused(t, err, fault.Unauthenticated, 1000)
	ok(t, db.PutToken(ctx, tok))
	got, err := db.TokenByHash(ctx, tok.Hash)
	ok(t, err)
	equal(t, got, tok)

	tok.Name, tok.Hash, tok.Expires = "renamed", sha256.Sum256([]byte("two")), time.Time{}
	ok(t, db.PutToken(ctx, tok))
	got, err = db.TokenByHash(ctx, tok.Hash)
	ok(t, err)
	equal(t, got, tok)
	_, err = db.TokenByHash(ctx, sha256.Sum256([]byte("one")))
	refused(t, err, fault.Unauthenticated, 1000)

	refused(t, db.PutToken(ctx, Token{Hash: tok.Hash}), fault.Conflict, 10000)
	refused(t, db.PutToken(ctx, Token{Account: other}), fault.NotFound, 7003)
	ok(t, db.PutToken(ctx, Token{Name: "node", Hash: sha256.Sum256([]byte("three"))}))

	list, err := db.Tokens(ctx, acct)
	ok(t, err)
	equal(t, list, []Token{tok})
	list, err = db.Tokens(ctx, "")
	ok(t, err)
	if len(list) != 2 || list[1].Name != "node" || len(list[1].ID) != 32 || list[1].Created.IsZero() {
		t.Errorf("all tokens: %+v", list)
	}

	ok(t, db.DeleteToken(ctx, tok.ID))
	refused(t, db.DeleteToken(ctx, tok.ID), fault.NotFound, 1001)
	_, err = db.TokenByHash(ctx, tok.Hash)
	refused(t, err, fault.Unauthenticated, 1000)
}
