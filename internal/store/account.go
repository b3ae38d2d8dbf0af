package store

import (
	"context"
	"encoding/json"
	"time"

	"atoll.dev/atoll/internal/atoll"
)

// Account is one account of the node.
type Account struct {
	ID      atoll.AccountID
	Name    string
	Created time.Time
}

// EnsureAccount makes the account where it is missing and gives it the name, unless that is empty.
func (db *DB) EnsureAccount(ctx context.Context, id atoll.AccountID, name string) error {
	return errTodo
}

// Accounts lists the accounts by name.
func (db *DB) Accounts(ctx context.Context) ([]Account, error) { return nil, errTodo }

// Account returns one account.
func (db *DB) Account(ctx context.Context, id atoll.AccountID) (Account, error) {
	return Account{}, errTodo
}

// Subdomain returns the account's workers.dev subdomain; the error of an account without one is NotFound, 10007.
func (db *DB) Subdomain(ctx context.Context, acct atoll.AccountID) (string, error) {
	return "", errTodo
}

// SetSubdomain gives the account a workers.dev subdomain that no other has; the empty one takes it away.
func (db *DB) SetSubdomain(ctx context.Context, acct atoll.AccountID, name string) error {
	return errTodo
}

// Token is an API token. Only the SHA-256 of its text is kept.
type Token struct {
	ID      string // 32 hex digits; PutToken makes it where it is empty
	Name    string
	Account atoll.AccountID // empty: every account of the node
	Hash    [32]byte
	Scope   json.RawMessage // the permissions, in package auth's form
	Created time.Time       // PutToken sets it where it is zero
	Expires time.Time       // zero: never
}

// PutToken stores the token, in place of one of the same ID.
func (db *DB) PutToken(ctx context.Context, t Token) error { return errTodo }

// TokenByHash returns the token; the error of a missing one is Unauthenticated, 1000.
func (db *DB) TokenByHash(ctx context.Context, hash [32]byte) (Token, error) {
	return Token{}, errTodo
}

// Tokens lists the account's tokens, and with an empty account those of the whole node, oldest first.
func (db *DB) Tokens(ctx context.Context, acct atoll.AccountID) ([]Token, error) {
	return nil, errTodo
}

// DeleteToken removes a token.
func (db *DB) DeleteToken(ctx context.Context, id string) error { return errTodo }
