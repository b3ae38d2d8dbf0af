package client

import (
	"context"
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/wire"
)

// Zones lists the account's zones; with a name, the one of that name.
func (c *Client) Zones(ctx context.Context, name string) ([]wire.Zone, error) {
	id, err := c.Account(ctx)
	if err != nil {
		return nil, err
	}
	q := url.Values{"account.id": {string(id)}}
	if name != "" {
		q.Set("name", name)
	}
	return byPage(ctx, c, request{method: http.MethodGet, path: "/zones", query: q}, call[[]wire.Zone])
}

// CreateZone makes a zone.
func (c *Client) CreateZone(ctx context.Context, name string) (wire.Zone, error) {
	id, err := c.Account(ctx)
	if err != nil {
		return wire.Zone{}, err
	}
	return do[wire.Zone](ctx, c, request{method: http.MethodPost, path: "/zones",
		body: wire.NewZone{Name: name, Account: &wire.AccountRef{ID: string(id)}}})
}
