package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/wire"
)

func routePath(zone string, more ...string) string {
	return path(append([]string{"zones", zone, "workers", "routes"}, more...)...)
}

// Routes lists a zone's routes. A zone is named by its id.
func (c *Client) Routes(ctx context.Context, zone string) ([]wire.Route, error) {
	return do[[]wire.Route](ctx, c, request{method: http.MethodGet, path: routePath(zone)})
}

// CreateRoute makes a route of the zone: a pattern, and a script or none to opt the pattern out.
func (c *Client) CreateRoute(ctx context.Context, zone string, r wire.Route) (wire.Route, error) {
	return do[wire.Route](ctx, c, request{method: http.MethodPost, path: routePath(zone), body: r})
}

// ChangeRoute replaces the route that has r.ID.
func (c *Client) ChangeRoute(ctx context.Context, zone string, r wire.Route) (wire.Route, error) {
	id := r.ID
	r.ID = ""
	return do[wire.Route](ctx, c, request{method: http.MethodPut, path: routePath(zone, id), body: r})
}

// DeleteRoute deletes a route.
func (c *Client) DeleteRoute(ctx context.Context, zone, id string) error {
	return c.exec(ctx, request{method: http.MethodDelete, path: routePath(zone, id)})
}
