package client

import (
	"context"
	"net/http"
	"slices"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// This file hides that the API has two ways to the tags: a user Worker's have endpoints of their own, an account
// script's are one of its script-settings, where adding one means writing all.

// Tags returns a script's tags.
func (c *Client) Tags(ctx context.Context, ref atoll.ScriptRef) ([]string, error) {
	if ref.Namespace == "" {
		s, err := doIn[wire.ScriptSettings](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "script-settings")})
		return s.Tags, err
	}
	return doIn[[]string](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "tags")})
}

// SetTags replaces all tags of a script.
func (c *Client) SetTags(ctx context.Context, ref atoll.ScriptRef, tags []string) ([]string, error) {
	if tags == nil {
		tags = []string{}
	}
	if ref.Namespace == "" {
		s, err := doIn[wire.ScriptSettings](ctx, c, request{method: http.MethodPatch, path: scriptPath(ref, "script-settings"),
			body: map[string][]string{"tags": tags}})
		return s.Tags, err
	}
	return doIn[[]string](ctx, c, request{method: http.MethodPut, path: scriptPath(ref, "tags"), body: tags})
}

// AddTag gives a script one more tag.
func (c *Client) AddTag(ctx context.Context, ref atoll.ScriptRef, tag string) error {
	if ref.Namespace == "" {
		return c.changeTags(ctx, ref, func(tags []string) []string { return append(tags, tag) })
	}
	return c.execIn(ctx, request{method: http.MethodPut, path: scriptPath(ref, "tags", tag)})
}

// RemoveTag takes a tag from a script.
func (c *Client) RemoveTag(ctx context.Context, ref atoll.ScriptRef, tag string) error {
	if ref.Namespace == "" {
		return c.changeTags(ctx, ref, func(tags []string) []string {
			return slices.DeleteFunc(tags, func(t string) bool { return t == tag })
		})
	}
	return c.execIn(ctx, request{method: http.MethodDelete, path: scriptPath(ref, "tags", tag)})
}

func (c *Client) changeTags(ctx context.Context, ref atoll.ScriptRef, change func([]string) []string) error {
	tags, err := c.Tags(ctx, ref)
	if err != nil {
		return err
	}
	_, err = c.SetTags(ctx, ref, change(tags))
	return err
}
