package client

import (
	"context"
	"net/http"
	"net/url"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// Secrets lists the names of a script's secrets.
func (c *Client) Secrets(ctx context.Context, ref atoll.ScriptRef) ([]wire.Secret, error) {
	return doIn[[]wire.Secret](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "secrets")})
}

// PutSecret gives a script a secret, in place of one of the same name.
func (c *Client) PutSecret(ctx context.Context, ref atoll.ScriptRef, name, text string) (wire.Secret, error) {
	return doIn[wire.Secret](ctx, c, request{method: http.MethodPut, path: scriptPath(ref, "secrets"),
		body: wire.Secret{Name: name, Type: "secret_text", Text: text}})
}

// DeleteSecret takes a secret from a script.
func (c *Client) DeleteSecret(ctx context.Context, ref atoll.ScriptRef, name string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: scriptPath(ref, "secrets", name), query: url.Values{"url_encoded": {"true"}}})
}
