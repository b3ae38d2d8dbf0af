package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Token is an API token. Only the SHA-256 of its text is kept.
type Token struct {
	ID      string // 32 hex digits; PutToken makes it where it is empty
	Name    string
	Account atoll.AccountID // empty: good for every account of the node
	Hash    [32]byte
	Scope   json.RawMessage // the permissions, in package auth's form
	Created time.Time       // PutToken sets it where it is zero
	Expires time.Time       // zero: never
}

// PutToken stores the token, in place of one of the same ID.
func (db *DB) PutToken(ctx context.Context, t Token) error {
	if t.ID == "" {
		t.ID = atoll.NewID()
	}
	if t.Created.IsZero() {
		t.Created = now()
	}
	if t.Scope == nil {
		t.Scope = json.RawMessage("null")
	}
	var expires int64
	if !t.Expires.IsZero() {
		expires = micros(t.Expires)
	}
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if t.Account != "" {
			if _, err := sqlite.One(ctx, tx, scanAccount, accountColumns+"WHERE id = ?", t.Account); sqlite.Missing(err) {
				return noAccount(t.Account)
			}
		}
		other, err := sqlite.One(ctx, tx, sqlite.Value[string], "SELECT id FROM tokens WHERE hash = ?", t.Hash[:])
		if err == nil && other != t.ID {
			return fault.New(fault.Conflict, 10000, "There is a token of this text already.")
		}
		if err != nil && !sqlite.Missing(err) {
			return err
		}
		_, err = sqlite.Run(ctx, tx, `INSERT INTO tokens (id, account, name, hash, scope, created, expires)
			VALUES (?1, nullif(?2, ''), ?3, ?4, ?5, ?6, ?7)
			ON CONFLICT (id) DO UPDATE SET account = nullif(?2, ''), name = ?3, hash = ?4, scope = ?5, created = ?6, expires = ?7`,
			t.ID, t.Account, t.Name, t.Hash[:], string(t.Scope), micros(t.Created), expires)
		return err
	})
	if err != nil {
		return fmt.Errorf("put token %s: %w", t.ID, err)
	}
	return nil
}

const tokenColumns = "SELECT id, account, name, hash, scope, created, expires FROM tokens "

func scanToken(row sqlite.Row) (t Token, err error) {
	var account sql.NullString
	var hash, scope []byte
	var created, expires int64
	if err := row.Scan(&t.ID, &account, &t.Name, &hash, &scope, &created, &expires); err != nil {
		return t, err
	}
	t.Account, t.Scope, t.Created = atoll.AccountID(account.String), scope, fromMicros(created)
	copy(t.Hash[:], hash)
	if expires != 0 {
		t.Expires = fromMicros(expires)
	}
	return t, nil
}

// TokenByHash returns the token; the error of a missing one is Unauthenticated, 1000. Whether it has expired is for the
// caller to see.
func (db *DB) TokenByHash(ctx context.Context, hash [32]byte) (Token, error) {
	t, err := sqlite.One(ctx, db.reads, scanToken, tokenColumns+"WHERE hash = ?", hash[:])
	if sqlite.Missing(err) {
		err = fault.New(fault.Unauthenticated, 1000, "Invalid API Token")
	}
	if err != nil {
		return Token{}, fmt.Errorf("get token: %w", err)
	}
	return t, nil
}

// Token returns the token of an id; the error of a missing one is Unauthenticated, 1000, and whether it has expired is for the
// caller to see, as with TokenByHash.
func (db *DB) Token(ctx context.Context, id string) (Token, error) {
	t, err := sqlite.One(ctx, db.reads, scanToken, tokenColumns+"WHERE id = ?", id)
	if sqlite.Missing(err) {
		err = fault.New(fault.Unauthenticated, 1000, "Invalid API Token")
	}
	if err != nil {
		return Token{}, fmt.Errorf("get token: %w", err)
	}
	return t, nil
}

// Tokens lists the account's tokens, all of the node with an empty account, oldest first.
func (db *DB) Tokens(ctx context.Context, acct atoll.AccountID) (list []Token, err error) {
	if acct == "" {
		list, err = sqlite.All(ctx, db.reads, scanToken, tokenColumns+"ORDER BY created, id")
	} else {
		list, err = sqlite.All(ctx, db.reads, scanToken, tokenColumns+"WHERE account = ? ORDER BY created, id", acct)
	}
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	return list, nil
}

// DeleteToken removes a token.
func (db *DB) DeleteToken(ctx context.Context, id string) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.Run(ctx, tx, "DELETE FROM tokens WHERE id = ?", id)
		if err == nil && n == 0 {
			err = fault.New(fault.NotFound, 1001, "There is no token with this ID.")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete token %s: %w", id, err)
	}
	return nil
}
