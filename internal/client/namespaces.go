package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

func namespacePath(name atoll.NamespaceName, more ...string) string {
	return path(append([]string{"workers", "dispatch", "namespaces", string(name)}, more...)...)
}

// Namespaces lists the dispatch namespaces.
func (c *Client) Namespaces(ctx context.Context) ([]wire.Namespace, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: path("workers", "dispatch", "namespaces")}, callIn[[]wire.Namespace])
}

// Namespace returns one dispatch namespace.
func (c *Client) Namespace(ctx context.Context, name atoll.NamespaceName) (wire.Namespace, error) {
	return doIn[wire.Namespace](ctx, c, request{method: http.MethodGet, path: namespacePath(name)})
}

// CreateNamespace makes a dispatch namespace.
func (c *Client) CreateNamespace(ctx context.Context, name atoll.NamespaceName, trusted bool) (wire.Namespace, error) {
	n := string(name)
	return doIn[wire.Namespace](ctx, c, request{method: http.MethodPost, path: path("workers", "dispatch", "namespaces"),
		body: wire.NamespaceChange{Name: &n, TrustedWorkers: &trusted}})
}

// ChangeNamespace renames a dispatch namespace, or changes whether its Workers are trusted, its limits, its engine.
func (c *Client) ChangeNamespace(ctx context.Context, name atoll.NamespaceName, change wire.NamespaceChange) (wire.Namespace, error) {
	return doIn[wire.Namespace](ctx, c, request{method: http.MethodPatch, path: namespacePath(name), body: change})
}

// DeleteNamespace deletes a dispatch namespace with its scripts.
func (c *Client) DeleteNamespace(ctx context.Context, name atoll.NamespaceName) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: namespacePath(name)})
}
