package store

import (
	"context"
	"encoding/json"
	"fmt"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// NamespaceChange is what UpdateNamespace changes; nil leaves a field as it is.
type NamespaceChange struct {
	Name     *atoll.NamespaceName
	Trusted  *bool
	Settings func(*atoll.NamespaceSettings) // changes the settings that there are
}

const namespaceColumns = "SELECT id, account, name, trusted, settings, scripts, created, modified FROM namespaces "

func scanNamespace(row sqlite.Row) (n atoll.Namespace, err error) {
	var created, modified int64
	var settings []byte
	if err := row.Scan(&n.ID, &n.Account, &n.Name, &n.Trusted, &settings, &n.Scripts, &created, &modified); err != nil {
		return n, err
	}
	n.Created, n.Modified = fromMicros(created), fromMicros(modified)
	n.Settings, err = parseSettings(settings)
	return n, err
}

// settingsText is the column's value: NULL where nothing is set.
func settingsText(s atoll.NamespaceSettings) (any, error) {
	if s == (atoll.NamespaceSettings{}) {
		return nil, nil
	}
	b, err := json.Marshal(s)
	return string(b), err
}

func parseSettings(column []byte) (s atoll.NamespaceSettings, err error) {
	if column != nil {
		err = json.Unmarshal(column, &s)
	}
	return s, err
}

func noNamespace() error {
	return fault.New(fault.NotFound, 100119, "workers.api.error.dispatch_namespace_not_found")
}

// getNamespace does not see the namespace without a name, which holds the account's own scripts.
func getNamespace(ctx context.Context, s sqlite.Session, acct atoll.AccountID, name atoll.NamespaceName) (atoll.Namespace, error) {
	if name == "" {
		return atoll.Namespace{}, noNamespace()
	}
	n, err := sqlite.One(ctx, s, scanNamespace, namespaceColumns+"WHERE account = ? AND name = ?", acct, name)
	if sqlite.Missing(err) {
		err = noNamespace()
	}
	return n, err
}

// namespaceKey is where scripts are kept; with an empty name it is that of the account's own scripts.
func namespaceKey(ctx context.Context, s sqlite.Session, acct atoll.AccountID, name atoll.NamespaceName) (int64, error) {
	key, err := sqlite.One(ctx, s, sqlite.Value[int64], "SELECT key FROM namespaces WHERE account = ? AND name = ?", acct, name)
	switch {
	case sqlite.Missing(err) && name == "":
		return 0, noAccount(acct)
	case sqlite.Missing(err):
		return 0, noNamespace()
	}
	return key, err
}

// freeNamespace makes sure that a name is not taken.
func freeNamespace(ctx context.Context, s sqlite.Session, acct atoll.AccountID, name atoll.NamespaceName) error {
	_, err := getNamespace(ctx, s, acct, name)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	// not Conflict: clients send a request answered with 409 again
	return fault.Newf(fault.Invalid, 100120, "A dispatch namespace with the name %q already exists.", name)
}

// CreateNamespace makes a dispatch namespace; a taken name is Invalid, 100120.
func (db *DB) CreateNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName, trusted bool,
	settings atoll.NamespaceSettings) (atoll.Namespace, error) {
	at := now()
	n := atoll.Namespace{ID: atoll.NewUUID(), Account: acct, Name: name, Trusted: trusted, Settings: settings, Created: at, Modified: at}
	err := settings.Validate()
	if err != nil {
		return atoll.Namespace{}, fmt.Errorf("create namespace %s: %w", name, err)
	}
	text, err := settingsText(settings)
	if err != nil {
		return atoll.Namespace{}, fmt.Errorf("create namespace %s: %w", name, err)
	}
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if _, err := sqlite.One(ctx, tx, scanAccount, accountColumns+"WHERE id = ?", acct); sqlite.Missing(err) {
			return noAccount(acct)
		}
		if err := freeNamespace(ctx, tx, acct, name); err != nil {
			return err
		}
		_, err := sqlite.Run(ctx, tx, "INSERT INTO namespaces (id, account, name, trusted, settings, created, modified) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)",
			n.ID, acct, name, trusted, text, micros(at))
		return err
	})
	if err != nil {
		return atoll.Namespace{}, fmt.Errorf("create namespace %s: %w", name, err)
	}
	return n, nil
}

// Namespaces lists the account's dispatch namespaces by name.
func (db *DB) Namespaces(ctx context.Context, acct atoll.AccountID) ([]atoll.Namespace, error) {
	list, err := sqlite.All(ctx, db.reads, scanNamespace, namespaceColumns+"WHERE account = ? AND name > '' ORDER BY name", acct)
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	return list, nil
}

// Namespace returns one dispatch namespace; the error of a missing one is NotFound, 100119.
func (db *DB) Namespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName) (atoll.Namespace, error) {
	n, err := getNamespace(ctx, db.reads, acct, name)
	if err != nil {
		return atoll.Namespace{}, fmt.Errorf("get namespace %s: %w", name, err)
	}
	return n, nil
}

// UpdateNamespace renames a dispatch namespace, or changes its trust or settings; a taken name is Invalid, 100120, and so
// are settings out of bounds, 10021.
func (db *DB) UpdateNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName, c NamespaceChange) (n atoll.Namespace, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
		if n, err = getNamespace(ctx, tx, acct, name); err != nil {
			return err
		}
		if c.Name != nil && *c.Name != n.Name {
			if err := freeNamespace(ctx, tx, acct, *c.Name); err != nil {
				return err
			}
			n.Name = *c.Name
		}
		if c.Trusted != nil {
			n.Trusted = *c.Trusted
		}
		if c.Settings != nil {
			c.Settings(&n.Settings)
		}
		if err := n.Settings.Validate(); err != nil {
			return err
		}
		settings, err := settingsText(n.Settings)
		if err != nil {
			return err
		}
		n.Modified = now()
		_, err = sqlite.Run(ctx, tx, "UPDATE namespaces SET name = ?, trusted = ?, settings = ?, modified = ? WHERE id = ?",
			n.Name, n.Trusted, settings, micros(n.Modified), n.ID)
		return err
	})
	if err != nil {
		return atoll.Namespace{}, fmt.Errorf("update namespace %s: %w", name, err)
	}
	return n, nil
}

// DeleteNamespace removes a dispatch namespace with its scripts. It is gone for everyone at once; its scripts follow in
// small transactions, so that a large namespace does not hold up other writes.
func (db *DB) DeleteNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName) error {
	var key int64
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
		if _, err := getNamespace(ctx, tx, acct, name); err != nil {
			return err
		}
		if key, err = namespaceKey(ctx, tx, acct, name); err != nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "UPDATE namespaces SET account = NULL WHERE key = ?", key)
		return err
	})
	if err == nil {
		err = db.emptyNamespace(context.WithoutCancel(ctx), key) // no use to leave it for the next start
	}
	if err != nil {
		return fmt.Errorf("delete namespace %s: %w", name, err)
	}
	return nil
}

// deleteChunk is how many scripts go in one transaction.
const deleteChunk = 500

func (db *DB) emptyNamespace(ctx context.Context, key int64) error {
	for {
		var n int64
		err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) (err error) {
			n, err = sqlite.Run(ctx, tx, "DELETE FROM scripts WHERE key IN (SELECT key FROM scripts WHERE namespace = ? LIMIT ?)", key, deleteChunk)
			if err == nil && n == 0 {
				_, err = sqlite.Run(ctx, tx, "DELETE FROM namespaces WHERE key = ?", key)
			}
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}

// finishDeletions empties the namespaces whose deletion a crash cut short.
func (db *DB) finishDeletions(ctx context.Context) error {
	keys, err := sqlite.All(ctx, db.reads, sqlite.Value[int64], "SELECT key FROM namespaces WHERE account IS NULL")
	if err != nil {
		return err
	}
	for _, key := range keys {
		db.lg.Info("store: finishing the deletion of a namespace")
		if err := db.emptyNamespace(ctx, key); err != nil {
			return fmt.Errorf("finish the deletion of a namespace: %w", err)
		}
	}
	return nil
}
