package store

import (
	"context"

	"atoll.dev/atoll/internal/atoll"
)

// NamespaceChange is what UpdateNamespace changes; nil leaves a field as it is.
type NamespaceChange struct {
	Name    *atoll.NamespaceName
	Trusted *bool
}

// CreateNamespace makes a dispatch namespace; a taken name is Invalid, 100120.
func (db *DB) CreateNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName, trusted bool) (atoll.Namespace, error) {
	return atoll.Namespace{}, errTodo
}

// Namespaces lists the account's dispatch namespaces by name.
func (db *DB) Namespaces(ctx context.Context, acct atoll.AccountID) ([]atoll.Namespace, error) {
	return nil, errTodo
}

// Namespace returns one dispatch namespace; the error of a missing one is NotFound, 100119.
func (db *DB) Namespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName) (atoll.Namespace, error) {
	return atoll.Namespace{}, errTodo
}

// UpdateNamespace renames a dispatch namespace or changes its trust.
func (db *DB) UpdateNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName, c NamespaceChange) (atoll.Namespace, error) {
	return atoll.Namespace{}, errTodo
}

// DeleteNamespace removes a dispatch namespace and its scripts.
func (db *DB) DeleteNamespace(ctx context.Context, acct atoll.AccountID, name atoll.NamespaceName) error {
	return errTodo
}
