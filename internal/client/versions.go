package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"atoll.dev/atoll/internal/atoll"
	"atoll.dev/atoll/internal/wire"
)

// Versions lists the newest versions of a script, at most limit.
func (c *Client) Versions(ctx context.Context, ref atoll.ScriptRef, limit int) ([]wire.Version, error) {
	v, err := doIn[wire.Versions](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "versions"),
		query: url.Values{"per_page": {strconv.Itoa(limit)}}})
	return v.Items, err
}

// Version returns one version of a script.
func (c *Client) Version(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID) (wire.Version, error) {
	return doIn[wire.Version](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "versions", string(id))})
}

// Deployments lists which versions served when, newest first.
func (c *Client) Deployments(ctx context.Context, ref atoll.ScriptRef) ([]wire.Deployment, error) {
	d, err := doIn[wire.Deployments](ctx, c, request{method: http.MethodGet, path: scriptPath(ref, "deployments")})
	return d.Deployments, err
}

// DeployVersion makes a stored version the one that serves.
func (c *Client) DeployVersion(ctx context.Context, ref atoll.ScriptRef, id atoll.VersionID, message string) (wire.Deployment, error) {
	body := map[string]any{
		"strategy": "percentage",
		"versions": []map[string]any{{"version_id": id, "percentage": 100}},
	}
	if message != "" {
		body["annotations"] = map[string]string{"workers/message": message}
	}
	return doIn[wire.Deployment](ctx, c, request{method: http.MethodPost, path: scriptPath(ref, "deployments"), body: body})
}
