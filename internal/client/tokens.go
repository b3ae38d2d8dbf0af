package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/wire"
)

// Tokens lists the account's API tokens, without their values.
func (c *Client) Tokens(ctx context.Context) ([]wire.Token, error) {
	return byPage(ctx, c, request{method: http.MethodGet, path: "/tokens"}, callIn[[]wire.Token])
}

// CreateToken makes an API token; its value is in this answer and never again.
func (c *Client) CreateToken(ctx context.Context, t wire.TokenRequest) (wire.Token, error) {
	return doIn[wire.Token](ctx, c, request{method: http.MethodPost, path: "/tokens", body: t})
}

// DeleteToken deletes an API token by its id; calls with it are refused from then on.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: path("tokens", id)})
}
