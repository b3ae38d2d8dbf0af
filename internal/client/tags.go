package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
)

// Tags returns a script's tags. The endpoints for the tags of an account's own script are Atoll's: Cloudflare has them
// for user Workers alone.
func (c *Client) Tags(ctx context.Context, ref atoll.ScriptRef) ([]string, error) {
	return doIn[[]string](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "tags")})
}

// SetTags replaces all tags of a script.
func (c *Client) SetTags(ctx context.Context, ref atoll.ScriptRef, tags []string) ([]string, error) {
	if tags == nil {
		tags = []string{}
	}
	return doIn[[]string](ctx, c, request{method: http.MethodPut, path: scriptPath(ref, "tags"), body: tags})
}

// AddTag gives a script one more tag.
func (c *Client) AddTag(ctx context.Context, ref atoll.ScriptRef, tag string) error {
	return c.execIn(ctx, request{method: http.MethodPut, path: scriptPath(ref, "tags", tag)})
}

// RemoveTag takes a tag from a script.
func (c *Client) RemoveTag(ctx context.Context, ref atoll.ScriptRef, tag string) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: scriptPath(ref, "tags", tag)})
}
