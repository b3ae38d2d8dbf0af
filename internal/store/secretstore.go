package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/fault"
	"atoll.dev/atoll/internal/sqlite"
)

// SecretStore is one of an account's stores of secrets, which Workers are bound to one by one and read as they are at the
// moment: https://developers.cloudflare.com/secrets-store/
type SecretStore struct {
	ID                string
	Name              string
	Created, Modified time.Time
}

// StoredSecret is a secret of a store, without its value.
type StoredSecret struct {
	ID, Store, Name, Comment string
	Scopes                   []string // which services may use it
	Created, Modified        time.Time
}

// SecretChange is what is to be set of a stored secret. Nil fields stay as they are.
type SecretChange struct {
	Name    string // of a new one
	Value   *string
	Comment *string
	Scopes  []string
}

// The bounds of stores. Cloudflare has one store and 100 secrets an account, which a platform's customers would fill at once:
// https://developers.cloudflare.com/secrets-store/manage-secrets/
const (
	MaxSecretStores  = 100
	MaxStoredSecrets = 10_000 // of an account
	maxStoredValue   = 1024
	maxStoredComment = 1024
)

// WorkersScope is the scope of secrets that Workers may read.
const WorkersScope = "workers"

// secretScopes are those that a secret may have. On a node only [WorkersScope] is of use.
var secretScopes = []string{"access", "ai_gateway", "dex", WorkersScope}

var (
	errNoSecretStore  = fault.New(fault.NotFound, 1001, "store_not_found")
	errNoStoredSecret = fault.New(fault.NotFound, 1001, "secret_not_found")
)

func badSecret(format string, args ...any) error {
	return fault.Newf(fault.Invalid, 1002, format, args...)
}

const secretStoreColumns = "SELECT id, name, created, modified FROM secret_stores "

func scanSecretStore(row sqlite.Row) (s SecretStore, err error) {
	var created, modified int64
	err = row.Scan(&s.ID, &s.Name, &created, &modified)
	s.Created, s.Modified = fromMicros(created), fromMicros(modified)
	return s, err
}

// SecretStores lists the account's, by name.
func (db *DB) SecretStores(ctx context.Context, account atoll.AccountID) ([]SecretStore, error) {
	list, err := sqlite.All(ctx, db.reads, scanSecretStore, secretStoreColumns+"WHERE account = ? ORDER BY name", account)
	if err != nil {
		return nil, fmt.Errorf("list secret stores: %w", err)
	}
	return list, nil
}

// CreateSecretStore makes one.
func (db *DB) CreateSecretStore(ctx context.Context, account atoll.AccountID, name string) (SecretStore, error) {
	s := SecretStore{ID: atoll.NewID(), Name: name, Created: now()}
	s.Modified = s.Created
	if err := checkStoredName(name); err != nil {
		return s, err
	}
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		n, err := sqlite.One(ctx, tx, sqlite.Value[int], "SELECT count(*) FROM secret_stores WHERE account = ?", account)
		if err == nil && n >= MaxSecretStores {
			return fault.Newf(fault.Full, 1004, "maximum_stores_exceeded: an account has at most %d secrets stores", MaxSecretStores)
		}
		if err != nil {
			return err
		}
		added, err := sqlite.Run(ctx, tx, "INSERT OR IGNORE INTO secret_stores VALUES (?, ?, ?, ?, ?)", s.ID, account, name, micros(s.Created), micros(s.Created))
		if err == nil && added == 0 {
			err = fault.New(fault.Conflict, 1003, "store_name_already_exists")
		}
		return err
	})
	if err != nil {
		return s, fmt.Errorf("create secret store %s: %w", name, err)
	}
	return s, nil
}

// DeleteSecretStore removes a store that holds nothing, or with force one and all that it holds.
func (db *DB) DeleteSecretStore(ctx context.Context, account atoll.AccountID, id string, force bool) (s SecretStore, err error) {
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if s, err = secretStore(ctx, tx, account, id); err != nil {
			return err
		}
		if force {
			if _, err := sqlite.Run(ctx, tx, "DELETE FROM stored_secrets WHERE store = ?", id); err != nil {
				return err
			}
		}
		_, err := sqlite.One(ctx, tx, sqlite.Value[string], "SELECT id FROM stored_secrets WHERE store = ? LIMIT 1", id)
		if err == nil {
			return fault.New(fault.Conflict, 1003, "store_not_empty: delete its secrets first")
		}
		if !sqlite.Missing(err) {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "DELETE FROM secret_stores WHERE id = ?", id)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("delete secret store %s: %w", id, err)
	}
	return s, nil
}

// SecretStore returns a store by its id.
func (db *DB) SecretStore(ctx context.Context, account atoll.AccountID, id string) (SecretStore, error) {
	s, err := secretStore(ctx, db.reads, account, id)
	if err != nil {
		return s, fmt.Errorf("get secret store %s: %w", id, err)
	}
	return s, nil
}

// secretStore returns the store of that id, if it is the account's.
func secretStore(ctx context.Context, s sqlite.Session, account atoll.AccountID, id string) (SecretStore, error) {
	st, err := sqlite.One(ctx, s, scanSecretStore, secretStoreColumns+"WHERE id = ? AND account = ?", id, account)
	if sqlite.Missing(err) {
		return st, errNoSecretStore
	}
	return st, err
}

const storedSecretColumns = "SELECT id, store, name, comment, scopes, created, modified FROM stored_secrets "

func scanStoredSecret(row sqlite.Row) (s StoredSecret, err error) {
	var created, modified int64
	var scopes []byte
	if err := row.Scan(&s.ID, &s.Store, &s.Name, &s.Comment, &scopes, &created, &modified); err != nil {
		return s, err
	}
	s.Created, s.Modified = fromMicros(created), fromMicros(modified)
	return s, json.Unmarshal(scopes, &s.Scopes)
}

// StoredSecrets lists those of a store, by name.
func (db *DB) StoredSecrets(ctx context.Context, account atoll.AccountID, store string) ([]StoredSecret, error) {
	_, err := secretStore(ctx, db.reads, account, store)
	var list []StoredSecret
	if err == nil {
		list, err = sqlite.All(ctx, db.reads, scanStoredSecret, storedSecretColumns+"WHERE store = ? ORDER BY name", store)
	}
	if err != nil {
		return nil, fmt.Errorf("list secrets of store %s: %w", store, err)
	}
	return list, nil
}

// StoredSecret returns one of a store by its id.
func (db *DB) StoredSecret(ctx context.Context, account atoll.AccountID, store, id string) (StoredSecret, error) {
	s, err := storedSecret(ctx, db.reads, account, store, id)
	if err != nil {
		return s, fmt.Errorf("get secret %s of store %s: %w", id, store, err)
	}
	return s, nil
}

func storedSecret(ctx context.Context, s sqlite.Session, account atoll.AccountID, store, id string) (StoredSecret, error) {
	if _, err := secretStore(ctx, s, account, store); err != nil {
		return StoredSecret{}, err
	}
	secret, err := sqlite.One(ctx, s, scanStoredSecret, storedSecretColumns+"WHERE id = ? AND store = ?", id, store)
	if sqlite.Missing(err) {
		return secret, errNoStoredSecret
	}
	return secret, err
}

// storedPlace is what a stored secret's value is bound to.
func storedPlace(id string) []byte { return []byte("secrets store/" + id) }

// CreateStoredSecrets adds secrets to a store, all or none.
func (db *DB) CreateStoredSecrets(ctx context.Context, account atoll.AccountID, store string, list []SecretChange) ([]StoredSecret, error) {
	for _, c := range list {
		if err := c.checkNew(); err != nil {
			return nil, err
		}
	}
	var out []StoredSecret
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		out = nil
		if _, err := secretStore(ctx, tx, account, store); err != nil {
			return err
		}
		n, err := sqlite.One(ctx, tx, sqlite.Value[int], `SELECT count(*) FROM secret_stores s JOIN stored_secrets x ON x.store = s.id WHERE s.account = ?`, account)
		if err == nil && n+len(list) > MaxStoredSecrets {
			return fault.Newf(fault.Full, 1004, "maximum_secrets_exceeded: an account has at most %d secrets in its secrets stores", MaxStoredSecrets)
		}
		if err != nil {
			return err
		}
		for _, c := range list {
			s, err := db.addStoredSecret(ctx, tx, store, c)
			if err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("create secrets of store %s: %w", store, err)
	}
	return out, nil
}

func (db *DB) addStoredSecret(ctx context.Context, tx sqlite.Session, store string, c SecretChange) (StoredSecret, error) {
	s := StoredSecret{ID: atoll.NewID(), Store: store, Name: c.Name, Scopes: c.Scopes, Created: now()}
	s.Modified = s.Created
	if c.Comment != nil {
		s.Comment = *c.Comment
	}
	scopes, err := json.Marshal(s.Scopes)
	if err != nil {
		return s, err
	}
	sealed := db.aead.Seal(nil, nil, []byte(*c.Value), storedPlace(s.ID))
	added, err := sqlite.Run(ctx, tx, "INSERT OR IGNORE INTO stored_secrets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		store, s.Name, s.ID, s.Comment, string(scopes), sealed, micros(s.Created), micros(s.Created))
	if err == nil && added == 0 {
		err = fault.Newf(fault.Conflict, 1003, "secret_name_already_exists: %s", s.Name)
	}
	return s, err
}

// UpdateStoredSecret changes a secret. Its name stays.
func (db *DB) UpdateStoredSecret(ctx context.Context, account atoll.AccountID, store, id string, c SecretChange) (s StoredSecret, err error) {
	if err := c.check(); err != nil {
		return s, err
	}
	err = db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		if s, err = storedSecret(ctx, tx, account, store, id); err != nil {
			return err
		}
		s.Modified = now()
		if c.Comment != nil {
			s.Comment = *c.Comment
		}
		if c.Scopes != nil {
			s.Scopes = c.Scopes
		}
		scopes, err := json.Marshal(s.Scopes)
		if err != nil {
			return err
		}
		if _, err := sqlite.Run(ctx, tx, "UPDATE stored_secrets SET comment = ?, scopes = ?, modified = ? WHERE id = ?",
			s.Comment, string(scopes), micros(s.Modified), id); err != nil || c.Value == nil {
			return err
		}
		_, err = sqlite.Run(ctx, tx, "UPDATE stored_secrets SET sealed = ? WHERE id = ?", db.aead.Seal(nil, nil, []byte(*c.Value), storedPlace(id)), id)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("update secret %s of store %s: %w", id, store, err)
	}
	return s, nil
}

// DeleteStoredSecrets removes secrets of a store, all or none.
func (db *DB) DeleteStoredSecrets(ctx context.Context, account atoll.AccountID, store string, ids []string) ([]StoredSecret, error) {
	var out []StoredSecret
	err := db.write(ctx, func(ctx context.Context, tx sqlite.Session) error {
		out = nil
		for _, id := range ids {
			s, err := storedSecret(ctx, tx, account, store, id)
			if err != nil {
				return err
			}
			if _, err := sqlite.Run(ctx, tx, "DELETE FROM stored_secrets WHERE id = ?", id); err != nil {
				return err
			}
			out = append(out, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("delete secrets of store %s: %w", store, err)
	}
	return out, nil
}

// DuplicateStoredSecret makes a secret of the same value under another name.
func (db *DB) DuplicateStoredSecret(ctx context.Context, account atoll.AccountID, store, id string, c SecretChange) (StoredSecret, error) {
	from, err := db.StoredSecret(ctx, account, store, id)
	if err != nil {
		return from, err
	}
	value, err := db.openStored(ctx, id)
	if err != nil {
		return from, fmt.Errorf("duplicate secret %s of store %s: %w", id, store, err)
	}
	c.Value = &value
	list, err := db.CreateStoredSecrets(ctx, account, store, []SecretChange{c})
	if err != nil {
		return from, err
	}
	return list[0], nil
}

func (db *DB) openStored(ctx context.Context, id string) (string, error) {
	sealed, err := sqlite.One(ctx, db.reads, sqlite.Value[[]byte], "SELECT sealed FROM stored_secrets WHERE id = ?", id)
	if sqlite.Missing(err) {
		return "", errNoStoredSecret
	}
	if err != nil {
		return "", err
	}
	value, err := db.aead.Open(nil, nil, sealed, storedPlace(id))
	return string(value), err
}

// byName returns the id of a store's secret that Workers may read.
func (db *DB) byName(ctx context.Context, account atoll.AccountID, store, name string) (string, error) {
	if _, err := secretStore(ctx, db.reads, account, store); err != nil {
		return "", err
	}
	s, err := sqlite.One(ctx, db.reads, scanStoredSecret, storedSecretColumns+"WHERE store = ? AND name = ?", store, name)
	if sqlite.Missing(err) || err == nil && !slices.Contains(s.Scopes, WorkersScope) {
		return "", errNoStoredSecret
	}
	return s.ID, err
}

// StoredSecretValue returns the value of a secret that a Worker is bound to, or a fault of kind NotFound.
func (db *DB) StoredSecretValue(ctx context.Context, account atoll.AccountID, store, name string) (string, error) {
	id, err := db.byName(ctx, account, store, name)
	var value string
	if err == nil {
		value, err = db.openStored(ctx, id)
	}
	if err != nil {
		return "", fmt.Errorf("read secret %s of store %s: %w", name, store, err)
	}
	return value, nil
}

// StoredSecretExists tells whether the account has the secret, by its store's id and its name, and Workers may read it.
func (db *DB) StoredSecretExists(ctx context.Context, account atoll.AccountID, ids ...string) (bool, error) {
	_, err := db.byName(ctx, account, ids[0], ids[1])
	if fault.KindOf(err) == fault.NotFound {
		return false, nil
	}
	return err == nil, err
}

// checkNew checks a secret that is to be made.
func (c SecretChange) checkNew() error {
	if err := checkStoredName(c.Name); err != nil {
		return err
	}
	if c.Value == nil {
		return badSecret("value is required")
	}
	if len(c.Scopes) == 0 {
		return badSecret("scopes is required: at least one of %s", strings.Join(secretScopes, ", "))
	}
	return c.check()
}

func (c SecretChange) check() error {
	if c.Value != nil && (*c.Value == "" || len(*c.Value) > maxStoredValue) {
		return badSecret("value must be 1 to %d bytes", maxStoredValue)
	}
	if c.Comment != nil && len(*c.Comment) > maxStoredComment {
		return badSecret("comment must be at most %d bytes", maxStoredComment)
	}
	if c.Scopes != nil && len(c.Scopes) == 0 {
		return badSecret("scopes must not be empty")
	}
	for _, s := range c.Scopes {
		if !slices.Contains(secretScopes, s) {
			return badSecret("scope %q is unknown: there are %s", s, strings.Join(secretScopes, ", "))
		}
	}
	return nil
}

// checkStoredName checks the name of a store or a secret, which must not hold spaces.
func checkStoredName(name string) error {
	if name == "" || len(name) > 255 || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return badSecret("name must be 1 to 255 bytes without spaces")
	}
	return nil
}
