package client

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// egressPath is that of a script's egress rules, or without a name those of the namespace.
func egressPath(ref atoll.ScriptRef) string {
	if ref.Name == "" {
		return namespacePath(ref.Namespace, "egress")
	}
	return scriptPath(ref, "egress")
}

// EgressRules returns the egress rules of a script, or without a name those of the namespace.
func (c *Client) EgressRules(ctx context.Context, ref atoll.ScriptRef) (wire.EgressRules, error) {
	return doIn[wire.EgressRules](ctx, c, request{method: http.MethodGet, path: egressPath(ref)})
}

// SetEgressRules replaces them.
func (c *Client) SetEgressRules(ctx context.Context, ref atoll.ScriptRef, r wire.EgressRules) (wire.EgressRules, error) {
	return doIn[wire.EgressRules](ctx, c, request{method: http.MethodPut, path: egressPath(ref), body: r})
}

// DeleteEgressRules removes them.
func (c *Client) DeleteEgressRules(ctx context.Context, ref atoll.ScriptRef) error {
	return c.execIn(ctx, request{method: http.MethodDelete, path: egressPath(ref)})
}
