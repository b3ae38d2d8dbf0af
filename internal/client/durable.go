package client

import (
	"context"
	"iter"
	"net/http"

	"atoll.dev/atoll/internal/wire"
)

func durablePath(more ...string) string {
	return path(append([]string{"workers", "durable_objects", "namespaces"}, more...)...)
}

// DurableObjectNamespaces lists the classes of Durable Objects.
func (c *Client) DurableObjectNamespaces(ctx context.Context) ([]wire.DurableObjectNamespace, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: durablePath()}, callIn[[]wire.DurableObjectNamespace])
}

// DurableObjects lists the objects of a class that have stored something.
func (c *Client) DurableObjects(ctx context.Context, id string) iter.Seq2[wire.DurableObject, error] {
	return byCursor[wire.DurableObject](ctx, c, request{method: http.MethodGet, path: durablePath(id, "objects")})
}
