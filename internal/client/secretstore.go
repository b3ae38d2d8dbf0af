package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/wire"
)

func secretStorePath(more ...string) string {
	return path(append([]string{"secrets_store", "stores"}, more...)...)
}

// SecretStores lists the stores of secrets.
func (c *Client) SecretStores(ctx context.Context) ([]wire.SecretStore, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: secretStorePath()}, callIn[[]wire.SecretStore])
}

// CreateSecretStore makes a store of secrets.
func (c *Client) CreateSecretStore(ctx context.Context, name string) (wire.SecretStore, error) {
	return doIn[wire.SecretStore](ctx, c, request{method: http.MethodPost, path: secretStorePath(), body: wire.StoredSecretChange{Name: name}})
}

// DeleteSecretStore deletes a store, which must be empty.
func (c *Client) DeleteSecretStore(ctx context.Context, id string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: secretStorePath(id)})
}

// StoredSecrets lists the secrets of a store, without their values.
func (c *Client) StoredSecrets(ctx context.Context, store string) ([]wire.StoredSecret, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: secretStorePath(store, "secrets")}, callIn[[]wire.StoredSecret])
}

// CreateStoredSecrets adds secrets to a store, all or none.
func (c *Client) CreateStoredSecrets(ctx context.Context, store string, in []wire.StoredSecretChange) ([]wire.StoredSecret, error) {
	return doIn[[]wire.StoredSecret](ctx, c, request{method: http.MethodPost, path: secretStorePath(store, "secrets"), body: in})
}

// UpdateStoredSecret changes what is there of a secret of a store.
func (c *Client) UpdateStoredSecret(ctx context.Context, store, id string, in wire.StoredSecretChange) (wire.StoredSecret, error) {
	return doIn[wire.StoredSecret](ctx, c, request{method: http.MethodPatch, path: secretStorePath(store, "secrets", id), body: in})
}

// DeleteStoredSecret deletes a secret of a store.
func (c *Client) DeleteStoredSecret(ctx context.Context, store, id string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: secretStorePath(store, "secrets", id)})
}
