package store

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// Account is one account of the node.
type Account struct {
	ID      atoll.AccountID
	Name    string
	Created time.Time
}

// EnsureAccount makes the account where it is missing and gives it the name, unless that is empty.
func (db *DB) EnsureAccount(ctx context.Context, id atoll.AccountID, name string) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		at := micros(now())
		if _, err := sqlite.Run(ctx, tx, `INSERT INTO accounts (id, name, created) VALUES (?1, ?2, ?3)
			ON CONFLICT (id) DO UPDATE SET name = ?2 WHERE ?2 <> ''`, id, name, at); err != nil {
			return err
		}
		// the namespace without a name holds the account's own scripts
		_, err := sqlite.Run(ctx, tx, `INSERT INTO namespaces (id, account, name, trusted, created, modified) VALUES (?1, ?2, '', 1, ?3, ?3)
			ON CONFLICT (account, name) DO NOTHING`, atoll.NewUUID(), id, at)
		return err
	})
	if err != nil {
		return fmt.Errorf("ensure account %s: %w", id, err)
	}
	return nil
}

const accountColumns = "SELECT id, name, created FROM accounts "

func scanAccount(row sqlite.Row) (a Account, err error) {
	var created int64
	err = row.Scan(&a.ID, &a.Name, &created)
	a.Created = fromMicros(created)
	return a, err
}

// Accounts lists the accounts, oldest first.
func (db *DB) Accounts(ctx context.Context) ([]Account, error) {
	list, err := sqlite.All(ctx, db.reads, scanAccount, accountColumns+"ORDER BY created, id")
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	return list, nil
}

// Account returns one account; the error of a missing one is NotFound, 7003.
func (db *DB) Account(ctx context.Context, id atoll.AccountID) (Account, error) {
	a, err := sqlite.One(ctx, db.reads, scanAccount, accountColumns+"WHERE id = ?", id)
	if sqlite.Missing(err) {
		err = noAccount(id)
	}
	if err != nil {
		return Account{}, fmt.Errorf("get account %s: %w", id, err)
	}
	return a, nil
}

func noAccount(id atoll.AccountID) error {
	return fault.Newf(fault.NotFound, 7003, "Could not route to /accounts/%s, perhaps your object identifier is invalid?", id)
}

// Subdomain returns the account's workers.dev subdomain; the error of an account without one is NotFound, 10007.
func (db *DB) Subdomain(ctx context.Context, acct atoll.AccountID) (string, error) {
	name, err := sqlite.One(ctx, db.reads, sqlite.Value[string], "SELECT subdomain FROM accounts WHERE id = ? AND subdomain IS NOT NULL", acct)
	if sqlite.Missing(err) {
		err = fault.New(fault.NotFound, 10007, "You need to register a workers.dev subdomain before publishing to workers.dev.")
	}
	if err != nil {
		return "", fmt.Errorf("get subdomain of account %s: %w", acct, err)
	}
	return name, nil
}

// SetSubdomain gives the account a workers.dev subdomain that no other has; the empty one takes it away.
func (db *DB) SetSubdomain(ctx context.Context, acct atoll.AccountID, name string) error {
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		owner, err := sqlite.One(ctx, tx, sqlite.Value[atoll.AccountID], "SELECT id FROM accounts WHERE subdomain = ?", name)
		if err == nil && owner != acct {
			return fault.Newf(fault.Conflict, 10031, "The subdomain %q is not available, please try another.", name)
		}
		if err != nil && !sqlite.Missing(err) {
			return err
		}
		n, err := sqlite.Run(ctx, tx, "UPDATE accounts SET subdomain = nullif(?, '') WHERE id = ?", name, acct)
		if err == nil && n == 0 {
			err = noAccount(acct)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set subdomain of account %s: %w", acct, err)
	}
	return nil
}
